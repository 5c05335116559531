//! Who the waypoint itself is.

use mesh::{Identity, names::WorkloadUid};

/// The waypoint as a workload of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its uid.
    pub uid: WorkloadUid,
    /// Its identity.
    pub identity: Identity,
}
