//! Connects, and says whose fault it is when that fails.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    credential::{PeerError, WrongPeer},
    socket::{Address, Socket},
};

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
            Self::Unreachable { .. } | Self::Silent { .. } | Self::Lost { .. } => Fault::Unreachable,
            Self::Unproven { .. } | Self::WrongPeer { .. } | Self::Handshake { .. } => Fault::Peer,
            Self::Refused { .. } => Fault::Refused,
            Self::OwnCertificateEnded | Self::Full { .. } => Fault::Ours,
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
    let _ = target;
    todo!()
}
