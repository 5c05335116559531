//! A command in a container, while it runs and to its end.
//!
//! runc stays in the foreground and hands on what goes in and out, so its own end is the command's
//! and its code the command's code. For a terminal it is given one of ours, whose size it carries on
//! to the one in the container.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::containers::Running;
use crate::runc::Runc;
use crate::terminal::{self, Terminal};

/// How long a command may take to be gone after it was killed.
const KILL_TIME_MAX: Duration = Duration::from_secs(5);
/// How often is looked whether runc has started a command that shall be killed.
const KILL_LOOK: Duration = Duration::from_millis(20);
/// How much of what a command that nobody talks to says is kept.
const OUTPUT_MAX: u64 = 64 * 1024;

/// What goes in and out.
pub(crate) enum Ends {
    Pipes { stdin: Option<ChildStdin>, stdout: Option<ChildStdout>, stderr: Option<ChildStderr> },
    Terminal(Terminal),
}

/// A command that runs. Dropping it kills runc, but maybe not the command: see [`Process::kill`].
pub(crate) struct Process {
    runc: Child,
    /// Where runc writes the command's number, once it runs.
    pid_file: PidFile,
}

/// How a command in a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executed {
    /// Its exit code.
    pub(crate) code: i32,
    /// The first 64 KiB of what it wrote to both outputs.
    pub(crate) output: String,
}

/// Why a command could not be run in a container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    /// runc itself could not be run.
    #[error("cannot run runc: {0}")]
    Start(#[from] std::io::Error),
    /// It took too long and was killed.
    #[error("command timed out after {0:?}")]
    Slow(Duration),
}

struct PidFile(PathBuf);

impl Drop for PidFile {
    fn drop(&mut self) {
        // There is none if the command was never started.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Process {
    /// Starts a command.
    pub(crate) fn start(
        runc: &Runc,
        container: &Running,
        argv: &[String],
        tty: bool,
        stdin: bool,
    ) -> io::Result<(Self, Ends)> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = format!("exec-{}-{number}.pid", std::process::id());
        let pid_file = PidFile(container.folder.join(file));
        let mut command = runc.command();
        command.arg("exec").arg("--pid-file").arg(&pid_file.0);
        if tty {
            command.arg("--tty");
        }
        command.arg(container.id.as_str()).args(argv).kill_on_drop(true);
        if tty {
            let (runc, terminal) = in_terminal(command)?;
            return Ok((Self { runc, pid_file }, Ends::Terminal(terminal)));
        }
        let stdin = if stdin { Stdio::piped() } else { Stdio::null() };
        let mut runc = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let ends =
            Ends::Pipes { stdin: runc.stdin.take(), stdout: runc.stdout.take(), stderr: runc.stderr.take() };
        Ok((Self { runc, pid_file }, ends))
    }

    /// Waits for its end. The code; `None` if it was killed.
    pub(crate) async fn wait(&mut self) -> io::Result<Option<i32>> {
        Ok(self.runc.wait().await?.code())
    }

    /// Whether the command itself began, or runc could not start it.
    pub(crate) fn began(&self) -> bool {
        self.number().is_some()
    }

    /// Kills the command, all of its process group, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        let gone = tokio::time::timeout(KILL_TIME_MAX, async {
            while !self.killed() {
                tokio::select! {
                    _ = self.runc.wait() => return,
                    () = tokio::time::sleep(KILL_LOOK) => {}
                }
            }
            // An error says that it was waited for already.
            let _ = self.runc.wait().await;
        });
        if gone.await.is_err() {
            tracing::warn!("a command was not gone {KILL_TIME_MAX:?} after its client; runc is killed");
        }
    }

    /// Tries to kill; `false` if there is nothing to kill yet.
    fn killed(&self) -> bool {
        let (Some(number), Some(runc)) = (self.number(), self.runc.id()) else { return false };
        // runc is the command's parent and has not been waited for: the number is still this one's.
        if parent(number) != i32::try_from(runc).ok() {
            return false;
        }
        // It leads its session, so its group has its number, and what it started is in there.
        kill(Pid::from_raw(-number), Signal::SIGKILL).is_ok()
    }

    fn number(&self) -> Option<i32> {
        std::fs::read_to_string(&self.pid_file.0).ok()?.trim().parse().ok()
    }
}

/// Runs a command to its end, as exec probes and hooks do.
///
/// # Errors
/// When runc cannot be run, or the command took longer than `timeout`: it is killed then.
pub(crate) async fn output(
    runc: &Runc,
    container: &Running,
    argv: &[String],
    timeout: Duration,
) -> Result<Executed, ExecError> {
    let (mut process, ends) = Process::start(runc, container, argv, false, false)?;
    let (stdout, stderr) = match ends {
        Ends::Pipes { stdout, stderr, .. } => (stdout, stderr),
        Ends::Terminal(_) => (None, None),
    };
    let done = async {
        let (first, second) = tokio::join!(drain(stdout), drain(stderr));
        let code = process.wait().await?.unwrap_or(-1);
        let mut output = first?;
        output.extend(second?);
        Ok(Executed { code, output: String::from_utf8_lossy(&output).into_owned() })
    };
    match tokio::time::timeout(timeout, done).await {
        Ok(result) => result,
        Err(_) => {
            process.kill().await;
            Err(ExecError::Slow(timeout))
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

fn in_terminal(mut command: Command) -> io::Result<(Child, Terminal)> {
    let (terminal, slave) = Terminal::open()?;
    command
        .stdin(Stdio::from(slave.try_clone()?))
        .stdout(Stdio::from(slave.try_clone()?))
        .stderr(Stdio::from(slave));
    // SAFETY: between fork and exec only calls of the kernel are made, nothing is allocated.
    unsafe { command.pre_exec(terminal::take_as_controlling) };
    // `command` holds the slave; it goes with the end of this function, so that the end is seen.
    Ok((command.spawn()?, terminal))
}

/// The parent of a process.
fn parent(number: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name may have any letters, also spaces and brackets; what follows the last bracket has not.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
