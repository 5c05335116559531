//! Calls of the runc program.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncReadExt, process::Command};

use crate::containers::ContainerId;

/// How much of what a command in a container says is kept.
const OUTPUT_MAX: u64 = 64 * 1024;

/// The runc program and where it keeps its state.
#[derive(Debug, Clone)]
pub struct Runc {
    program: PathBuf,
    root: PathBuf,
}

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i32,
    /// The first 64 KiB of what it wrote to both outputs.
    pub output: String,
}

/// Why a command could not be run in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// runc itself could not be run.
    #[error("cannot run runc: {0}")]
    Start(#[from] std::io::Error),
    /// It took too long and was killed.
    #[error("command timed out after {0:?}")]
    Slow(Duration),
}

impl Runc {
    /// `program` with its state under `root`.
    pub fn new(program: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), root: root.into() }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where it keeps its state.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `runc --root …`, for more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root);
        command
    }

    /// `runc exec` of a command with the container's own environment, folder and user. With
    /// `console`, a socket where runc sends the terminal's master, it gets a terminal.
    pub fn exec(&self, id: &ContainerId, argv: &[String], console: Option<&Path>) -> Command {
        let mut command = self.command();
        command.arg("exec");
        if let Some(socket) = console {
            command.arg("--tty").arg("--console-socket").arg(socket);
        }
        command.arg(id.as_str()).args(argv);
        command
    }

    /// Runs a command to its end, as exec probes and hooks do.
    ///
    /// # Errors
    /// When runc cannot be run, or the command took longer than `timeout`: it is killed then.
    pub async fn exec_output(
        &self,
        id: &ContainerId,
        argv: &[String],
        timeout: Duration,
    ) -> Result<Executed, ExecError> {
        let mut child = self
            .exec(id, argv, None)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let done = async {
            let (first, second) = tokio::join!(drain(stdout), drain(stderr));
            let status = child.wait().await?;
            let mut output = first?;
            output.extend(second?);
            let code = status.code().unwrap_or(-1);
            Ok(Executed { code, output: String::from_utf8_lossy(&output).into_owned() })
        };
        match tokio::time::timeout(timeout, done).await {
            Ok(result) => result,
            Err(_) => Err(ExecError::Slow(timeout)),
        }
    }
}

/// Reads to the end and keeps the beginning.
async fn drain(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(stream) = stream {
        let mut head = stream.take(OUTPUT_MAX);
        head.read_to_end(&mut kept).await?;
        tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
