//! One builder at a time: a lock on a file, which the kernel lets go when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::watched::PROGRESS_EVERY;

/// How often a taken lock is tried again.
const TRY_EVERY: Duration = Duration::from_millis(250);
/// The longest wait for another builder.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

/// Held until it is dropped.
pub(crate) struct Lock {
    _file: Flock<File>,
}

/// Takes the lock at `path`, and tells `waiting` at once and then every few seconds how long it has waited.
///
/// Gives an error of kind `TimedOut` after `wait_max`.
pub(crate) fn take(path: &Path, wait_max: Duration, waiting: &mut dyn FnMut(Duration)) -> io::Result<Lock> {
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let started = Instant::now();
    let mut told: Option<Instant> = None;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Lock { _file: held }),
            Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) => file,
            Err((_, error)) => return Err(error.into()),
        };
        if started.elapsed() >= wait_max {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if told.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
            waiting(started.elapsed());
            told = Some(Instant::now());
        }
        // The kernel has no way to wait for such a lock with a limit; a builder takes minutes, so this costs nothing.
        std::thread::sleep(TRY_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_until_the_first_is_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("lock");
        let first = take(&path, Duration::ZERO, &mut |_| panic!("nobody holds it")).expect("it is free");
        let refused = take(&path, Duration::ZERO, &mut |_| {}).err().expect("it is held");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);

        let mut first = Some(first);
        // Told once that it waits, the holder lets go.
        take(&path, WAIT_MAX, &mut |_| drop(first.take())).expect("it was let go");
        assert!(first.is_none(), "it was said that it waits");
    }
}
