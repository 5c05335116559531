//! A terminal of this machine: the master's end as a stream of bytes.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use crate::shim::console;

/// The master's end. Copies of it are the same terminal.
#[derive(Debug, Clone)]
pub(crate) struct Terminal(Arc<AsyncFd<std::fs::File>>);

impl Terminal {
    /// A new terminal, and the end for a process.
    pub(crate) fn open() -> io::Result<(Self, OwnedFd)> {
        let pair = nix::pty::openpty(None, None)?;
        for descriptor in [&pair.master, &pair.slave] {
            fcntl(descriptor, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
        }
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let master = std::fs::File::from(pair.master);
        // SAFETY: the descriptor is owned by what is registered, and open as long as that lives.
        let master = unsafe { AsyncFd::register_with_interest(master, interest) }?;
        Ok((Self(Arc::new(master)), pair.slave))
    }

    /// Says how large it is; the process is told by a signal.
    pub(crate) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        console::resize(self.0.get_ref(), width, height)
    }
}

/// Makes the process that calls it the leader of a session whose terminal is its standard input.
/// For use between fork and exec: it only makes calls of the kernel.
pub(crate) fn take_as_controlling() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: TIOCSCTTY takes a number; standard input was set before.
    let result = unsafe { libc::ioctl(io::stdin().as_raw_fd(), libc::TIOCSCTTY, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let read = ready.try_io(|master| master.get_ref().read(buf.initialize_unfilled()));
            match read {
                Ok(Ok(length)) => {
                    buf.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // The last process has closed its end.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|master| master.get_ref().write(buf)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
