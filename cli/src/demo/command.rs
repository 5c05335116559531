//! Runs `strait` as a person at a shell would, and gives what it printed.

use std::ffi::OsStr;

use anyhow::Context as _;

/// What it printed; if it failed, that is the error.
pub(crate) async fn strait(arguments: &[&OsStr]) -> anyhow::Result<String> {
    let binary = std::env::current_exe().context("cannot find this program's own file")?;
    let verb = arguments.first().map(|verb| verb.to_string_lossy()).unwrap_or_default().into_owned();
    let mut command = tokio::process::Command::new(binary);
    command.args(arguments).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("cannot start strait {verb}"))?;
    anyhow::ensure!(
        output.status.success(),
        "strait {verb}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}
