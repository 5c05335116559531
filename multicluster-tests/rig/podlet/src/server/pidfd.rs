//! Waits for the end of a process that is not a child, by a descriptor of it.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the process of this number has ended; at once if there is none.
pub(crate) async fn ended(pid: i32) -> io::Result<()> {
    let descriptor = match open(pid) {
        Ok(descriptor) => descriptor,
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        Err(error) => return Err(error),
    };
    // SAFETY: the descriptor is owned by what is registered, and open as long as that lives.
    let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
    let _ready = descriptor.readable().await?;
    Ok(())
}

fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(descriptor) {
        // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
        Ok(descriptor @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
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
        drop(child.stdin.take());
        waiting.await.unwrap().unwrap();
        child.wait().await.unwrap();
        ended(pid).await.unwrap();
    }
}
