//! curl, as a user types it.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::Context as _;

/// What curl got.
#[derive(Debug)]
pub struct Answer {
    /// The status of the answer; 0 when there was none.
    pub status: u16,
    /// The status with which a proxy answered a CONNECT; 0 when there was none.
    pub connect: u16,
    /// How many connections curl opened.
    pub connections: u32,
    /// Every head that was received, the proxy's included.
    pub heads: String,
    /// The body.
    pub body: Vec<u8>,
    /// The exit status of curl.
    pub exit: Option<i32>,
    /// What curl complained about.
    pub errors: String,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The last value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        let line = self.heads.lines().rev().find(|line| named(line))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    /// The id and the reason of a refusal.
    ///
    /// # Errors
    /// When it says none.
    pub fn denied(&self) -> anyhow::Result<(String, String)> {
        let said = self.header("x-strait-denied").with_context(|| format!("no x-strait-denied: {self:?}"))?;
        let field = |name: &str| {
            let found = said.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
            found.map(str::to_owned).with_context(|| format!("no {name} in {said:?}"))
        };
        Ok((field("id")?, field("reason")?))
    }
}

/// Runs curl with these arguments.
///
/// # Errors
/// When it is not installed, or its output cannot be read.
pub fn curl(arguments: &[&str]) -> anyhow::Result<Answer> {
    let folder = tempfile::tempdir()?;
    let (heads, body) = (folder.path().join("heads"), folder.path().join("body"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--noproxy", ""]);
    command.args(["--write-out", "%{http_code} %{http_connect} %{num_connects}\\n"]);
    command.arg("--dump-header").arg(&heads).arg("--output").arg(&body);
    for variable in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(variable);
    }
    let output = command.args(arguments).stdin(Stdio::null()).output().context("curl cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // One line for each transfer.
    let transfers: Vec<Vec<u32>> =
        said.lines().map(|line| line.split(' ').filter_map(|word| word.parse().ok()).collect()).collect();
    let last = |index: usize| transfers.last().and_then(|line| line.get(index)).copied().unwrap_or_default();
    Ok(Answer {
        status: u16::try_from(last(0))?,
        connect: u16::try_from(last(1))?,
        connections: transfers.iter().filter_map(|line| line.get(2)).sum(),
        heads: fs::read_to_string(heads).unwrap_or_default(),
        body: fs::read(body).unwrap_or_default(),
        exit: output.status.code(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
