//! Where tunnels lead, and for whom.

use std::net::SocketAddr;

use mesh::names::WorkloadUid;

use crate::{credential::Expected, hbone::Authority};

/// Where a tunnel leads, and for whom: equal ones share tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The workload that we carry for. Its tunnels are never shared with another's.
    pub source: WorkloadUid,
    /// Where the tunnel is accepted.
    pub address: SocketAddr,
    /// Who must be there.
    pub peers: Expected,
}

/// Where an inner tunnel leads, through a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inner {
    /// The exported service, by name.
    pub service: Authority,
    /// Who may serve it.
    pub peers: Expected,
    /// How much the other cluster says it can take: so many inner tunnels are spread over its endpoints.
    pub capacity: u32,
}
