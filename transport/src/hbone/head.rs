//! What the two ends of a tunnel say before bytes flow: the CONNECT request and its answer.

use std::{fmt, net::SocketAddr, str::FromStr};

use mesh::{
    Identity,
    names::{Hostname, Network},
};

/// Where a stream wants to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Authority {
    /// An address of this network.
    Address(SocketAddr),
    /// A service by name, as it is said to another network.
    Name {
        /// The service's host name, lower case.
        host: Hostname,
        /// The service's port.
        port: u16,
    },
}

/// Why a text is no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither IP:port nor host:port")]
pub struct AuthorityError(pub String);

/// On whose behalf a voucher opens a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A workload that the voucher verified.
    Identity(Identity),
    /// A caller that has no identity.
    Unknown,
}

/// The origin as it stood in a request: what is neither absent nor exactly one must be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginField {
    /// The field did not occur.
    Absent,
    /// It occurred once and could be read.
    One(Origin),
    /// It occurred once and could not be read.
    Malformed,
    /// It occurred so many times.
    Many(usize),
}

/// What a CONNECT request says beside its authority. Everything but `origin` only describes; nothing of it is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectHead {
    /// `x-strait-origin`.
    pub origin: OriginField,
    /// `forwarded`.
    pub forwarded: Option<String>,
    /// `baggage`.
    pub baggage: Option<String>,
    /// `x-forwarded-network`.
    pub network: Option<Network>,
    /// `traceparent`.
    pub trace: Option<String>,
}

/// What a 200 says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// `baggage`: describes the destination.
    pub baggage: Option<String>,
}

impl fmt::Display for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(out, "{address}"),
            Self::Name { host, port } => write!(out, "{host}:{port}"),
        }
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let _ = text;
        todo!()
    }
}
