//! Networks and trust: ranges, bundles, revocations.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    identity::{Identity, TrustDomain},
    names::Network,
};

/// Everything that counts as inside the mesh in one network. Every node always holds all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeshRanges {
    /// The network.
    pub network: Network,
    /// True for the network of the cluster that sends this.
    pub local: bool,
    /// Addresses of pods, workloads and services.
    pub addresses: Vec<IpNet>,
    /// Name suffixes, without leading dot: `cluster.local`, `clusterset.local`, `mesh`.
    pub suffixes: Vec<Arc<str>>,
}

/// The roots of one trust domain. No root of it counts for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustBundle {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Grows with every change of the bundle (SPIFFE Trust Domain and Bundle, `spiffe_sequence`).
    pub sequence: u64,
    /// Root certificates, DER in base64 (standard alphabet, padded).
    pub roots: Vec<Arc<str>>,
}

/// An identity whose certificates issued before a time must not be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Whose.
    pub identity: Identity,
    /// Certificates whose `notBefore` is earlier are refused. Seconds since the Unix epoch.
    pub issued_before: u64,
    /// Why, for people.
    pub reason: Arc<str>,
}
