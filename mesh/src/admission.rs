//! Decides, at the destination, whether a peer may connect at all, and for whom it speaks.
//!
//! Pure. The peer was verified against the bundle of its own trust domain before; what it may then do is
//! for `access`.

use crate::{
    denial::Denial,
    facts::Caller,
    hop::Authority,
    identity::Identity,
    names::{ServiceKey, WorkloadUid},
    snapshot::Snapshot,
};

/// The other end of a tunnel, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    /// Who it is.
    pub identity: Identity,
    /// `notBefore` of its certificate, in seconds since the Unix epoch.
    pub not_before: u64,
}

/// For whom a CONNECT says that it speaks (`x-strait-origin`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It does not say.
    Absent,
    /// For this workload.
    Identity(Identity),
    /// For somebody without identity.
    Unknown,
    /// It says what cannot be read.
    Malformed,
    /// It says it so many times.
    Many(usize),
}

/// A stream that arrived in a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The workload at whose listener it arrived.
    pub workload: WorkloadUid,
    /// What it wants there.
    pub at: Entrance,
    /// Who opened the tunnel.
    pub peer: TlsPeer,
    /// For whom it speaks.
    pub origin: Origin,
}

/// What an arrival wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// A port of the workload.
    Port(u16),
    /// The workload as a waypoint or gateway.
    Waypoint,
}

/// A port of a local workload, as a CONNECT named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// The workload's port.
    pub port: u16,
    /// The service by which it was named, if it was one.
    pub service: Option<(ServiceKey, u16)>,
}

/// Finds the port that a CONNECT names at the listener of a workload.
///
/// # Errors
/// When it names what is not registered there.
pub fn addressed(
    snapshot: &Snapshot,
    workload: &WorkloadUid,
    authority: &Authority,
) -> Result<Addressed, Denial> {
    let _ = (snapshot, workload, authority);
    todo!()
}

/// Decides whether an arrival is admitted, and for whom it speaks.
///
/// # Errors
/// When it is not admitted.
pub fn check(snapshot: &Snapshot, arrival: &Arrival) -> Result<Caller, Denial> {
    let _ = (snapshot, arrival);
    todo!()
}

/// Decides whether a certificate of an identity is still believed: its trust domain is known, and it was not
/// revoked after it was issued.
///
/// # Errors
/// When it is not believed.
pub fn believed(snapshot: &Snapshot, peer: &TlsPeer) -> Result<(), Denial> {
    let _ = (snapshot, peer);
    todo!()
}
