//! What a peer proved, or why it proved nothing.

use std::time::SystemTime;

use mesh::{Identity, TrustDomain, identity::IdentityError};

/// A peer that proved itself in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPeer {
    /// Who it is.
    pub identity: Identity,
    /// When its certificate begins.
    pub not_before: SystemTime,
    /// When its certificate ends.
    pub not_after: SystemTime,
    /// The serial number of its certificate, lower-case hexadecimal.
    pub serial: String,
}

/// Why a peer's certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It sent none.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// More or larger certificates than anyone needs.
    #[error("the peer's chain has {certificates} certificates and {bytes} bytes, more than is accepted")]
    ChainTooLarge {
        /// How many.
        certificates: usize,
        /// How large together.
        bytes: usize,
    },
    /// Not X.509.
    #[error("the peer's certificate cannot be read: {0}")]
    Malformed(String),
    /// None, or more than one URI.
    #[error("a peer has exactly one URI name, this one has {0}")]
    UriNames(usize),
    /// The URI is no SPIFFE identity.
    #[error("the peer's URI name is no identity")]
    Identity(#[source] IdentityError),
    /// Its trust domain is not known here.
    #[error("no trust bundle of {0} is held")]
    NoBundle(TrustDomain),
    /// The certificate may sign others, or must not be used for TLS.
    #[error("the certificate of {identity} is not for this use: {cause}")]
    Usage {
        /// Whose.
        identity: Identity,
        /// What forbids it.
        cause: String,
    },
    /// Too old.
    #[error("the certificate of {0} ended")]
    Expired(Identity),
    /// Too new.
    #[error("the certificate of {0} does not begin yet")]
    NotYetValid(Identity),
    /// It does not lead to a root of its own trust domain.
    #[error("the certificate of {identity} is not signed by a root of its trust domain: {cause}")]
    Chain {
        /// Whose.
        identity: Identity,
        /// What the check said.
        cause: String,
    },
}
