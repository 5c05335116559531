//! A process as the kernel tells it from any other since the machine started: by pid and start time.
//!
//! Pids are given again. So nothing is signalled before its start time was compared, through a descriptor that
//! names the process itself and not its number.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// A process, remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did: field 22 of `/proc/<pid>/stat`.
    pub start: u64,
}

impl Recorded {
    /// The process that has this pid now; none if there is none, or only its corpse.
    pub fn of(pid: i32) -> Option<Recorded> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold anything; after it come the state and plain numbers.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Recorded { pid, start })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Recorded::of(self.pid) == Some(self)
    }

    /// Kills it and waits until it is gone. True also if it was gone before; false if `timeout` passed.
    pub fn kill(self, timeout: Duration) -> io::Result<bool> {
        let Some(process) = self.open()? else { return Ok(true) };
        // SAFETY: the descriptor is open, and no extra information is given.
        let code = unsafe {
            let none = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), Signal::SIGKILL as i32, none, 0)
        };
        if code < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ESRCH) { Ok(true) } else { Err(error) };
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        Ok(poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], timeout)? > 0)
    }

    /// A descriptor of the process; none if it is gone.
    fn open(self) -> io::Result<Option<OwnedFd>> {
        // SAFETY: two numbers go in, a descriptor of ours alone comes out.
        let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
        let Ok(raw) = i32::try_from(raw) else { return Ok(None) };
        if raw < 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ESRCH) { Ok(None) } else { Err(error) };
        }
        // SAFETY: as above.
        let process = unsafe { OwnedFd::from_raw_fd(raw) };
        // Now the number cannot be given again unnoticed: if it is the same process, it stays the same.
        Ok(self.is_alive().then_some(process))
    }
}

/// The processes whose main thread is in one of these network namespaces, given by number. This one is left out.
pub fn within(namespaces: &[u64]) -> Vec<Recorded> {
    let own = std::process::id().cast_signed();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_within = |pid: &i32| {
        let file = format!("/proc/{pid}/ns/net");
        crate::namespace::inode(file.as_ref()).is_some_and(|inode| namespaces.contains(&inode))
    };
    pids.filter(|pid| *pid != own).filter(is_within).filter_map(Recorded::of).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_killed_once_and_one_that_has_its_number_is_not() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let recorded = Recorded::of(child.id().cast_signed()).unwrap();
        let earlier = Recorded { start: recorded.start - 1, ..recorded };
        assert!(!earlier.is_alive());
        assert!(earlier.kill(Duration::from_secs(5)).unwrap());
        assert!(recorded.is_alive());
        assert!(recorded.kill(Duration::from_secs(5)).unwrap());
        assert!(!recorded.is_alive());
        child.wait().unwrap();
        assert!(recorded.kill(Duration::from_secs(5)).unwrap());
    }
}
