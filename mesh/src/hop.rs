//! Decides where a connection goes.
//!
//! Pure: it reads one snapshot; it opens nothing and waits for nothing. The programs carry out what this
//! file decides: they dial, ask the control plane, or resolve a name, and then decide again.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    denial::Denial,
    identity::{Identity, TrustDomain},
    names::{Hostname, NetworkAddress, ServiceKey, SetName, WorkloadUid},
    resource::{GatewayAddress, Workload},
    snapshot::Snapshot,
};

/// Ports of our own: what would be dialled there would come back to us.
pub const OWN_PORTS: [u16; 5] = [15001, 15006, 15008, 15053, 15080];

/// A connection that wants to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Who leaves: a workload, or a waypoint that calls on for one. What it serves itself is not reached
    /// through it again.
    pub source: WorkloadUid,
    /// Where to.
    pub to: Destination,
}

/// What was dialled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// An address of the source's network: of a workload, a service, or outside.
    Address(SocketAddr),
    /// A name, as the application said it.
    Name {
        /// The name.
        host: Hostname,
        /// The port.
        port: u16,
    },
    /// A service.
    Service {
        /// Which.
        service: ServiceKey,
        /// Its port.
        port: u16,
    },
    /// One endpoint of a service, which is chosen already (a session that is bound to it).
    Endpoint {
        /// The service.
        service: ServiceKey,
        /// The service's port.
        port: u16,
        /// The endpoint.
        workload: WorkloadUid,
    },
}

/// What a CONNECT asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authority {
    /// An address of the network.
    Address(SocketAddr),
    /// A service, by name.
    Name {
        /// Its name.
        host: Hostname,
        /// Its port.
        port: u16,
    },
}

/// What not to try again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Avoid {
    /// Endpoints and waypoints that could not be reached.
    pub workloads: Vec<WorkloadUid>,
    /// Gateways that could not be reached.
    pub gateways: Vec<SocketAddr>,
}

/// The endpoint, waypoint or remote service that was chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Which.
    pub workload: Arc<Workload>,
    /// What is addressed there.
    pub at: At,
    /// The service that was dialled, if it was one.
    pub service: Option<(ServiceKey, u16)>,
}

/// What a connection addresses at the workload that was chosen for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// A port of it, which this set protects.
    Port(u16, SetName),
    /// It is a waypoint on the way.
    Waypoint,
    /// A service of another cluster.
    Remote,
}

/// Where a connection goes next.
#[derive(Debug, Clone)]
pub enum Hop {
    /// Outside the mesh, in plaintext.
    Direct {
        /// Where.
        address: SocketAddr,
    },
    /// Outside the mesh by its name. The caller resolves it, and decides again with the address.
    Resolve {
        /// The name.
        host: Hostname,
        /// The port.
        port: u16,
    },
    /// Through a tunnel.
    Tunnel {
        /// Where the tunnel is accepted.
        address: SocketAddr,
        /// Who may be there.
        peers: Vec<Identity>,
        /// What the CONNECT asks for.
        authority: Authority,
        /// Who was chosen.
        chosen: Chosen,
    },
    /// To another cluster: a tunnel to its gateway, and inside it one to who serves there.
    ThroughGateway {
        /// The gateway.
        gateway: GatewayAddress,
        /// What both CONNECTs ask for.
        authority: Authority,
        /// Who may serve it.
        peers: Vec<Identity>,
        /// How much the other cluster says it can take, at least 1.
        capacity: u32,
        /// The remote service.
        chosen: Chosen,
    },
    /// It may be in the mesh, and is not held: ask the control plane, wait a bound, decide again, else refuse
    /// ([`silent`]).
    Ask(Vec<Wanted>),
}

/// What the control plane is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wanted {
    /// Who has an address.
    Address(NetworkAddress),
    /// What a name means.
    Name(Hostname),
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name(name) => name.fmt(out),
        }
    }
}

/// Where an east-west gateway sends the bytes of an inner tunnel.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The tunnel address of who serves.
    pub address: SocketAddr,
    /// Who was chosen.
    pub chosen: Chosen,
}

/// Decides where a connection goes. `chance` is a random number, a fresh one for each attempt.
///
/// # Errors
/// When it may go nowhere.
pub fn decide(snapshot: &Snapshot, departure: &Departure, avoid: &Avoid, chance: u64) -> Result<Hop, Denial> {
    let _ = (snapshot, departure, avoid, chance);
    todo!()
}

/// The endpoints among which [`decide`] would choose one for this departure, for callers that choose by how
/// busy each is and then go to [`Destination::Endpoint`]. Empty if there is nothing to choose.
///
/// # Errors
/// As [`decide`].
pub fn candidates(
    snapshot: &Snapshot,
    departure: &Departure,
    avoid: &Avoid,
) -> Result<Vec<Arc<Workload>>, Denial> {
    let _ = (snapshot, departure, avoid);
    todo!()
}

/// Decides where an east-west gateway forwards what a peer of another trust domain asked for by name. Only
/// to this cluster: a gateway is no way to a third one.
///
/// # Errors
/// When the name is not exported to the peer's trust domain, or nobody serves it.
pub fn forward(
    snapshot: &Snapshot,
    gateway: &WorkloadUid,
    host: &Hostname,
    port: u16,
    peer: &TrustDomain,
    avoid: &Avoid,
    chance: u64,
) -> Result<Forward, Denial> {
    let _ = (snapshot, gateway, host, port, peer, avoid, chance);
    todo!()
}

/// The refusal when the control plane did not say in time what something is.
pub fn silent(wanted: &[Wanted]) -> Denial {
    let _ = wanted;
    todo!()
}

#[allow(unused)]
fn unused(_: IpAddr) {}
