//! Runs a command that takes minutes, with its words in a log and a line of progress every few seconds.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a wait says that it still waits.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_secs(15);
/// The longest that one command may take: nine times what the longest usually takes on two idle cores.
const COMMAND_MAX: Duration = Duration::from_secs(60 * 60);
/// How much of the end of a log an error shows.
const TAIL_LINES: usize = 12;
/// How much of the end of a log is read for it, in bytes.
const TAIL_BYTES_MAX: u64 = 16 * 1024;

/// Runs `command` to its end and tells `progress` how long it has run, and the number of lines in its log.
///
/// The log is added to, so that several commands of one build share it.
pub(crate) fn run(
    command: &mut Command,
    log: &Path,
    progress: &mut dyn FnMut(Duration, usize),
) -> io::Result<ExitStatus> {
    let out = OpenOptions::new().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let started = Instant::now();
    let mut child = command.spawn()?;
    let id = Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?);
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    loop {
        match ended.recv_timeout(PROGRESS_EVERY) {
            Ok(status) => return status,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("lost sight of the command")),
            Err(RecvTimeoutError::Timeout) if started.elapsed() > COMMAND_MAX => {
                // It is still our child and was not waited for, so the id is still its own.
                kill(id, Signal::SIGTERM)?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("stopped after {}", spoken(COMMAND_MAX)),
                ));
            }
            Err(RecvTimeoutError::Timeout) => progress(started.elapsed(), lines(log)),
        }
    }
}

/// A time as people say it.
pub(crate) fn spoken(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn lines(log: &Path) -> usize {
    std::fs::read(log).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spoken() {
        for (seconds, words) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "60 min")]
        {
            assert_eq!(spoken(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn a_command_leaves_its_words_and_its_status() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let say = |script: &str| {
            run(Command::new("sh").args(["-c", script]), &log, &mut |_, _| {}).expect("sh runs").code()
        };
        assert_eq!(say("seq 1 20; echo fault >&2; exit 3"), Some(3));
        assert_eq!(say("echo second"), Some(0));
        let tail = tail(&log);
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("20\nfault\nsecond"), "{tail}");
        assert_eq!(lines(&log), 22);
    }
}
