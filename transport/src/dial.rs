//! Connects, and says whose fault it is when that fails.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::{TcpSocket, UnixStream, lookup_host};

use crate::{
    credential::{PeerError, WrongPeer},
    hbone::Authority,
    socket::{Address, Socket},
};

/// Addresses of one name that are looked at.
pub const RESOLVED_MAX: usize = 16;

/// Whose fault a failed dial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Ours: our certificate, our limits.
    Ours,
    /// The network's, or of the program at the address: nobody answers there.
    Unreachable,
    /// The peer's: it is not who it should be, or breaks the protocol.
    Peer,
    /// Nobody's: the peer answered, with a refusal.
    Refused,
}

/// Why a dial failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// Nobody there.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Where.
        address: Address,
        /// What the system said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// Nobody answered in time; at port 15008 perhaps because something drops its packets.
    #[error("{address} did not answer within {waited:?}")]
    Silent {
        /// Where.
        address: Address,
        /// How long we waited.
        waited: Duration,
    },
    /// The peer proved nothing.
    #[error("the peer at {address} is not accepted")]
    Unproven {
        /// Where.
        address: Address,
        /// What is wrong with its certificate.
        #[source]
        cause: PeerError,
    },
    /// The peer is somebody else.
    #[error("the peer at {address} is somebody else")]
    WrongPeer {
        /// Where.
        address: Address,
        /// Who it is, and who it should have been.
        #[source]
        cause: WrongPeer,
    },
    /// TLS or HTTP/2 failed; a peer that does not accept our certificate looks like this too.
    #[error("the handshake with {address} failed")]
    Handshake {
        /// Where.
        address: Address,
        /// What the library said.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The CONNECT was answered with something else than 200.
    #[error("{address} answered {status}")]
    Refused {
        /// Where.
        address: Address,
        /// The status.
        status: u16,
        /// `x-strait-denied`, if it was there.
        denied: Option<String>,
    },
    /// The tunnel ended before the answer came.
    #[error("the tunnel to {address} ended before it answered")]
    Lost {
        /// Where.
        address: Address,
        /// How.
        #[source]
        cause: Arc<io::Error>,
    },
    /// The gateway was reached; the tunnel inside, to whoever serves the service in the other cluster, failed.
    #[error("behind the gateway, at {service}")]
    Behind {
        /// Which service.
        service: Authority,
        /// How; the address in it is the gateway's.
        #[source]
        cause: Box<DialError>,
    },
    /// Our own certificate has ended.
    #[error("our certificate ended")]
    OwnCertificateEnded,
    /// We hold as many tunnels as we may.
    #[error("no more tunnels can be opened: {limit} are open")]
    Full {
        /// The bound.
        limit: usize,
    },
}

impl DialError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Unreachable { .. } | Self::Unresolved { .. } | Self::Silent { .. } | Self::Lost { .. } => {
                Fault::Unreachable
            }
            Self::Unproven { .. } | Self::WrongPeer { .. } | Self::Handshake { .. } => Fault::Peer,
            Self::Refused { .. } => Fault::Refused,
            Self::Behind { cause, .. } => cause.fault(),
            Self::OwnCertificateEnded | Self::Full { .. } => Fault::Ours,
        }
    }

    /// Status and `x-strait-denied` of the far end's answer, if there was one and it was no.
    pub fn refusal(&self) -> Option<(u16, Option<&str>)> {
        match self {
            Self::Refused { status, denied, .. } => Some((*status, denied.as_deref())),
            Self::Behind { cause, .. } => cause.refusal(),
            _ => None,
        }
    }
}

/// Where to dial from and to, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where to.
    pub address: Address,
    /// From which of our addresses; the system chooses if it is not said.
    pub from: Option<SocketAddr>,
    /// How long to wait.
    pub timeout: Duration,
}

/// Connects to an address.
///
/// # Errors
/// When nobody answers there, or not in time.
pub async fn dial(target: &Target) -> Result<Socket, DialError> {
    let Target { address, timeout, .. } = target;
    match tokio::time::timeout(*timeout, connect(target)).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(cause)) => Err(DialError::Unreachable { address: address.clone(), cause: Arc::new(cause) }),
        Err(_) => Err(DialError::Silent { address: address.clone(), waited: *timeout }),
    }
}

/// The addresses of a name, as the system resolves it.
///
/// # Errors
/// When it has none, or nobody said so in time.
pub async fn resolve(host: &str, port: u16, timeout: Duration) -> Result<Vec<SocketAddr>, DialError> {
    let unresolved =
        |cause: io::Error| DialError::Unresolved { host: host.to_owned(), cause: Arc::new(cause) };
    let found = tokio::time::timeout(timeout, lookup_host((host, port)))
        .await
        .map_err(|_| unresolved(io::ErrorKind::TimedOut.into()))?
        .map_err(unresolved)?;
    let found: Vec<SocketAddr> = found.take(RESOLVED_MAX).collect();
    if found.is_empty() { Err(unresolved(io::ErrorKind::NotFound.into())) } else { Ok(found) }
}

async fn connect(target: &Target) -> io::Result<Socket> {
    let to = match &target.address {
        Address::Unix(path) => return Ok(Socket::unix(UnixStream::connect(path).await?)),
        Address::Tcp(to) => *to,
    };
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(from) = target.from {
        socket.bind(from)?;
    }
    Socket::tcp(socket.connect(to).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Listener;

    fn target(address: Address) -> Target {
        Target { address, from: None, timeout: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn a_listener_is_reached_from_the_address_that_was_asked_for() {
        let listener = Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).expect("a free port");
        let mut target = target(listener.address().clone());
        target.from = Some(([127, 0, 0, 9], 0).into());
        let dialled = dial(&target).await.expect("somebody listens");
        let arrived = listener.accept().await.expect("somebody dialled");
        assert_eq!(arrived.peer_address(), dialled.local_address());
        assert_eq!(arrived.peer_address().map(|address| address.ip()), Some([127, 0, 0, 9].into()));
    }

    #[tokio::test]
    async fn a_name_is_resolved_or_says_that_it_cannot_be() {
        let literal = resolve("127.0.0.1", 80, Duration::from_secs(5)).await;
        assert_eq!(literal.expect("it is an address already"), [([127, 0, 0, 1], 80).into()]);
        let error = resolve("not a name", 80, Duration::from_secs(5)).await.expect_err("it is none");
        assert!(matches!(&error, DialError::Unresolved { host, .. } if host == "not a name"), "{error}");
        assert_eq!(error.fault(), Fault::Unreachable);
    }

    #[tokio::test]
    async fn nobody_there_is_the_networks_fault() {
        let gone =
            Listener::bind(&Address::Tcp(([127, 0, 0, 1], 0).into())).expect("a free port").address().clone();
        let error = dial(&target(gone.clone())).await.expect_err("nobody listens any more");
        assert!(matches!(&error, DialError::Unreachable { address, .. } if *address == gone), "{error}");
        assert_eq!(error.fault(), Fault::Unreachable);
        let nowhere = Address::Unix("/nonexistent/socket".into());
        assert!(matches!(dial(&target(nowhere)).await, Err(DialError::Unreachable { .. })));
    }
}
