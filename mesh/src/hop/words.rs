//! What a decision about a hop is asked, and what it answers.

use std::{fmt, net::SocketAddr, sync::Arc};

use crate::{
    identity::Identity,
    names::{Hostname, NetworkAddress, ServiceKey, SetName, WorkloadUid},
    resource::{GatewayAddress, Workload},
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

impl fmt::Display for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Name { host, port } => write!(out, "{host}:{port}"),
        }
    }
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
    /// ([`crate::hop::silent`]).
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
