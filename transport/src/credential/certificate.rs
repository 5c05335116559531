//! Reads a certificate: who it names, how long it lasts, and whether it is fit to prove a workload.

use std::time::SystemTime;

use mesh::Identity;

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
