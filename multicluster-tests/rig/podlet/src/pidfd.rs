//! Waits for the end of a process that is not a child, by a descriptor of it.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the process of this number has ended; at once if there is none.
pub(crate) async fn ended(pid: i32) -> io::Result<()> {
    match open(pid)? {
        Some(descriptor) => wait(descriptor).await,
        None => Ok(()),
    }
}

/// As [`ended`], of the process that [`began`] then: at once if the number is another's by now.
pub(crate) async fn ended_of(pid: i32, began_then: u64) -> io::Result<()> {
    let Some(descriptor) = open(pid)? else { return Ok(()) };
    // Looked at after it was opened: what has another beginning is not the one that is held.
    if began(pid) != Some(began_then) {
        return Ok(());
    }
    wait(descriptor).await
}

/// When a process began, in the kernel's ticks since the machine did; `None` if there is none. With
/// its number this names a process for good.
pub(crate) fn began(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may have any letters, also spaces and brackets; what follows the last bracket has not.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

async fn wait(descriptor: OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is owned by what is registered, and open as long as that lives.
    let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
    let _ready = descriptor.readable().await?;
    Ok(())
}

fn open(pid: i32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(descriptor) {
        // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
        Ok(descriptor @ 0..) => Ok(Some(unsafe { OwnedFd::from_raw_fd(descriptor) })),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_seen() {
        let mut child =
            tokio::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id().unwrap()).unwrap();
        let waiting = tokio::spawn(ended(pid));
        let began = began(pid).unwrap();
        // Another process of that number has ended long ago.
        ended_of(pid, began + 1).await.unwrap();
        let same = tokio::spawn(ended_of(pid, began));
        drop(child.stdin.take());
        waiting.await.unwrap().unwrap();
        same.await.unwrap().unwrap();
        child.wait().await.unwrap();
        ended(pid).await.unwrap();
    }
}
