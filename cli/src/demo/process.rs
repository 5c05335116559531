//! The processes of the demo: each is this same binary, each ends with the demo.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long a process may take to end by itself when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts `strait` with these arguments; what it says goes into `<folder>/<name>.log`.
    pub(crate) fn start(folder: &Path, name: &str, arguments: &[String]) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let mut process = Self { name: name.to_owned(), arguments: arguments.to_vec(), log, child: None };
        process.spawn(Stdio::null(), None)?;
        Ok(process)
    }

    /// Starts one that is spoken to on its standard input and answers on its standard output.
    pub(crate) fn start_spoken(
        folder: &Path,
        name: &str,
        arguments: &[String],
    ) -> anyhow::Result<(Self, ChildStdin, ChildStdout)> {
        let log = folder.join(format!("{name}.log"));
        let mut process = Self { name: name.to_owned(), arguments: arguments.to_vec(), log, child: None };
        process.spawn(Stdio::piped(), Some(Stdio::piped()))?;
        let child = process.child.as_mut().context("it was just started")?;
        let input = child.stdin.take().context("its standard input is piped")?;
        let output = child.stdout.take().context("its standard output is piped")?;
        Ok((process, input, output))
    }

    fn spawn(&mut self, input: Stdio, output: Option<Stdio>) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let binary = std::env::current_exe().context("cannot find this program's own file")?;
        let mut command = Command::new(binary);
        command.args(&self.arguments).stdin(input).stderr(log.try_clone()?).kill_on_drop(true);
        command.stdout(output.unwrap_or_else(|| log.into()));
        let child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Its name in the story.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it has said.
    pub(crate) fn said(&self) -> io::Result<String> {
        std::fs::read_to_string(&self.log)
    }

    /// Fails with its last words if it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        let Some(child) = self.child.as_mut() else { bail!("{} was stopped", self.name) };
        if let Some(status) = child.try_wait()? {
            let said = self.said().unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(8).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!("{} ended ({status}):\n{}", self.name, last.join("\n"));
        }
        Ok(())
    }

    /// Kills it without warning, as a crash would.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.with_context(|| format!("cannot kill {}", self.name))?;
        }
        Ok(())
    }

    /// Starts it again after it was killed.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.spawn(Stdio::null(), None)
    }

    /// Asks it to end, and kills it if it does not.
    pub(crate) async fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended between the two lines; then there is nobody to ask.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        if tokio::time::timeout(END_TIMEOUT, child.wait()).await.is_err() {
            // It is killed on drop in any case.
            let _ = child.kill().await;
        }
    }
}
