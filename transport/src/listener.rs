//! A listening socket as a value: bound, taken over, shared or given away, never rebound.
//!
//! One listening socket may be shared by an old and a new process. Closing one of two sockets that share a port by
//! `SO_REUSEPORT` drops its queue of connections, so that is not used.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    time::Duration,
};

use tokio::net::{TcpListener, UnixListener};

use crate::socket::{Address, Socket};

/// Connections that the kernel holds for us before we accept them.
pub const BACKLOG: i32 = 1024;
/// How long to wait when the process has no descriptors or memory left for one more connection.
pub const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections at one address.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
    address: Address,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds. For port 0 the address then says which port it became. A unix path on which nobody listens any more
    /// is taken over.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: &Address) -> io::Result<Self> {
        let (domain, at) = match address {
            Address::Tcp(ip) => (socket2::Domain::for_address(*ip), socket2::SockAddr::from(*ip)),
            Address::Unix(path) => {
                remove_stale(path)?;
                (socket2::Domain::UNIX, socket2::SockAddr::unix(path)?)
            }
        };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if matches!(address, Address::Tcp(_)) {
            // Lets a restart bind while connections of the process before it are still in TIME_WAIT.
            socket.set_reuse_address(true)?;
        }
        socket.bind(&at)?;
        socket.listen(BACKLOG)?;
        Self::from_fd(socket.into())
    }

    /// Takes over a listening descriptor, TCP or unix.
    ///
    /// # Errors
    /// When it is no listening stream socket.
    pub fn from_fd(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = socket2::Socket::from(descriptor);
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the descriptor does not listen"));
        }
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let descriptor = OwnedFd::from(socket);
        if let Some(ip) = local.as_socket() {
            return Ok(Self {
                kind: Kind::Tcp(TcpListener::from_std(descriptor.into())?),
                address: Address::Tcp(ip),
            });
        }
        let path = local.as_pathname().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self {
            kind: Kind::Unix(UnixListener::from_std(descriptor.into())?),
            address: Address::Unix(path),
        })
    }

    /// Gives the descriptor away; connections that wait in it go along.
    ///
    /// # Errors
    /// When it cannot be taken from the runtime.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        match self.kind {
            Kind::Tcp(listener) => Ok(listener.into_std()?.into()),
            Kind::Unix(listener) => Ok(listener.into_std()?.into()),
        }
    }

    /// A second descriptor of the same socket, for another process to accept from as well.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match &self.kind {
            Kind::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Kind::Unix(listener) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next connection. Connections that died in the queue are passed over; when the process has run
    /// out of descriptors it waits a moment and tries again.
    ///
    /// # Errors
    /// When the socket itself no longer accepts.
    pub async fn accept(&self) -> io::Result<Socket> {
        loop {
            let accepted = match &self.kind {
                Kind::Tcp(listener) => listener.accept().await.and_then(|(stream, _)| Socket::tcp(stream)),
                Kind::Unix(listener) => listener.accept().await.map(|(stream, _)| Socket::unix(stream)),
            };
            match accepted {
                Ok(socket) => return Ok(socket),
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) if is_exhaustion(&error) => {
                    tracing::warn!(address = %self.address, %error, "cannot accept for a moment");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Linux hands errors that are pending on a new connection to `accept` (accept(2), "Error handling").
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EINTR
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EPERM
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENOTCONN
                | libc::ETIMEDOUT
        )
    )
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// A socket file that nobody listens on stays behind when its process was killed.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
