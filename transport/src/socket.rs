//! One connection of the operating system, TCP or unix, and where it leads.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BufMut;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// Idle time before the kernel probes a silent TCP peer, and the time between probes.
pub const KEEPALIVE: Duration = Duration::from_secs(180);
/// Probes without an answer after which the kernel gives a TCP peer up.
pub const KEEPALIVE_PROBES: u32 = 9;

/// Where one listens or dials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A path of the file system.
    Unix(PathBuf),
}

/// A connection of the operating system. TCP ones have `TCP_NODELAY` and keepalive set.
#[derive(Debug)]
pub struct Socket {
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keepalive =
            TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(KEEPALIVE_PROBES);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Self { kind: Kind::Tcp(stream) })
    }

    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self { kind: Kind::Unix(stream) }
    }

    /// Two ends of one connection inside this process.
    ///
    /// # Errors
    /// When the system has no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::unix(one), Self::unix(other)))
    }

    /// Takes over a connected descriptor (TCP or unix) from elsewhere.
    ///
    /// # Errors
    /// When it is no stream socket.
    pub fn from_fd(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        socket.set_nonblocking(true)?;
        match socket.domain()? {
            socket2::Domain::UNIX => Ok(Self::unix(UnixStream::from_std(OwnedFd::from(socket).into())?)),
            _ => Self::tcp(TcpStream::from_std(OwnedFd::from(socket).into())?),
        }
    }

    /// Gives the descriptor away, for another worker or process to go on with.
    ///
    /// # Errors
    /// When it cannot be taken from the runtime.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        match self.kind {
            Kind::Tcp(stream) => Ok(stream.into_std()?.into()),
            Kind::Unix(stream) => Ok(stream.into_std()?.into()),
        }
    }

    /// The IP address and port of the other end, if it is TCP.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(stream) => stream.peer_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    /// Our own IP address and port, if it is TCP.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(stream) => stream.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    /// Ends the connection so that the other end sees a reset, not an orderly end.
    pub fn reset(self) {
        abort_on_close(&self);
    }
}

/// What [`crate::stream`] needs from two tasks at once: one reads, the other writes.
impl Socket {
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Tcp(stream) => stream.poll_read_ready(cx),
            Kind::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Tcp(stream) => stream.poll_write_ready(cx),
            Kind::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        match &self.kind {
            Kind::Tcp(stream) => stream.try_read_buf(buffer),
            Kind::Unix(stream) => stream.try_read_buf(buffer),
        }
    }

    pub(crate) fn try_write(&self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match &self.kind {
            Kind::Tcp(stream) => stream.try_write_vectored(parts),
            Kind::Unix(stream) => stream.try_write_vectored(parts),
        }
    }

    pub(crate) fn finish(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }
}

/// A TCP socket that lingers for no time sends a reset when it is closed. Unix sockets have no such thing.
pub(crate) fn abort_on_close(socket: &Socket) {
    if let Kind::Tcp(stream) = &socket.kind {
        // Without it the peer sees an orderly end; there is nothing better left to do then.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Tcp(stream) => stream.as_fd(),
            Kind::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Kind::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Kind::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Kind::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().kind {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Kind::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}
