//! What holders of credentials are told.

use mesh::Identity;

/// Something that holders of credentials must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// About one identity.
    Identity {
        /// Which.
        identity: Identity,
        /// What happened to it.
        what: What,
    },
    /// Other roots are believed from now on: every credential is a new one.
    Bundles,
    /// The listener was too slow and must look at everything again.
    Missed,
}

/// What happened to an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It has a new certificate. Tunnels of the old one go on until that ends.
    Issued,
    /// Its certificate ended and there is no other: what is open in its name closes.
    Ended,
    /// It is not wanted any more: what is open in its name closes.
    Forgotten,
}
