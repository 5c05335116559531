//! Workloads: what runs somewhere under one identity.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    identity::Identity,
    names::{ClusterName, Hostname, Network, NodeName, ServiceKey, SetName, WorkloadUid},
};

/// Something that runs and has an identity: a pod, a process, a waypoint, or all of a remote service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Unique in the mesh.
    pub uid: WorkloadUid,
    /// Its name.
    pub name: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The cluster that owns it.
    pub cluster: ClusterName,
    /// The network of its addresses.
    pub network: Network,
    /// Who it is.
    pub identity: Identity,
    /// The node that runs it; empty for a remote one.
    pub node: NodeName,
    /// Where it is.
    pub locality: Locality,
    /// Its mesh addresses; none for a remote one.
    pub addresses: Vec<IpAddr>,
    /// How it is reached.
    pub reach: Reach,
    /// What its ports admit. A port that is not listed is judged by `other_ports`.
    pub ports: BTreeMap<u16, WorkloadPort>,
    /// What ports that are not listed admit.
    pub other_ports: WorkloadPort,
    /// The services that it serves, with the port of the service and its own.
    /// A key is the text of a [`ServiceKey`].
    pub services: BTreeMap<Arc<str>, Vec<PortMapping>>,
    /// Weight in balancing, at least 1.
    pub capacity: u32,
    /// Whether new work should go to it.
    pub health: Health,
    /// What it may reach outside the mesh.
    pub egress: Egress,
    /// Who may speak for others to it, if it is itself a waypoint or gateway.
    pub vouchers: Vec<Identity>,
    /// Application and version labels for metrics.
    pub labels: Labels,
}

impl Workload {
    /// What a port admits.
    pub fn port(&self, port: u16) -> &WorkloadPort {
        self.ports.get(&port).unwrap_or(&self.other_ports)
    }

    /// True if it serves a service.
    pub fn serves(&self, service: &ServiceKey) -> bool {
        self.services.contains_key(&*service.to_string())
    }

    /// Its port that serves a port of a service.
    pub fn target(&self, service: &ServiceKey, port: u16) -> Option<u16> {
        let mappings = self.services.get(&*service.to_string())?;
        mappings.iter().find(|mapping| mapping.service == port).map(|mapping| mapping.target)
    }
}

/// Labels that metrics name (Istio standard metrics).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// `app.kubernetes.io/name` or `app`; else the workload's name.
    pub app: Arc<str>,
    /// `app.kubernetes.io/version` or `version`; else `latest`.
    pub version: Arc<str>,
}

/// Region, zone and subzone; empty where unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locality {
    /// The region.
    pub region: Arc<str>,
    /// The zone.
    pub zone: Arc<str>,
    /// The subzone.
    pub subzone: Arc<str>,
}

/// How a workload is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Reach {
    /// By HBONE at this address.
    Tunnel(SocketAddr),
    /// Known, and enrolled nowhere: in plaintext, where egress allows it.
    Plain,
    /// In another network: through one of the gateways, and with a second tunnel inside to one of `peers`.
    Gateway {
        /// Where the gateways are, and who they must be.
        gateways: Vec<GatewayAddress>,
        /// The name that the other cluster exported.
        authority: Hostname,
        /// Who serves it: its waypoint, or its workloads.
        peers: Vec<Identity>,
    },
}

/// One gateway of another cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayAddress {
    /// Its HBONE address.
    pub address: SocketAddr,
    /// Who it must be.
    pub identity: Identity,
}

/// What one port of a workload admits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadPort {
    /// Who may connect at all.
    pub admission: Admission,
    /// Who may send `x-strait-origin`, and must.
    pub vouchers: Vec<Identity>,
    /// The policies.
    pub set: SetName,
}

/// Who may open a connection to a workload's port (DESIGN 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Admission {
    /// Anyone whom the policies let.
    Direct,
    /// Only these waypoints. An empty list admits nobody: the waypoint is missing.
    Through {
        /// The identities of the waypoints.
        waypoints: Vec<Identity>,
        /// The service by which the waypoint is dialled, for connections to the workload's own address.
        dial: Option<ServiceKey>,
    },
}

/// A service port and the port of the workload that serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortMapping {
    /// The port that clients dial.
    pub service: u16,
    /// The port that the workload listens on.
    pub target: u16,
}

/// Whether new work should go to a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Yes.
    Healthy,
    /// No.
    Unhealthy,
}

/// What a workload may reach outside the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Egress {
    /// Anything that is known not to be in the mesh, in plaintext.
    Allow,
    /// Nothing.
    Deny,
}

/// What only the node of a workload needs: how its process is told apart and reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The workload.
    pub workload: WorkloadUid,
    /// Where its connections are delivered.
    pub delivery: Delivery,
    /// Ports whose connections are delivered elsewhere.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub port_deliveries: BTreeMap<u16, Delivery>,
    /// Where its explicit proxy listens, if it has one.
    pub proxy: Option<ExplicitProxy>,
}

/// Where a node hands connections to the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Delivery {
    /// A unix stream socket.
    Unix(Arc<str>),
    /// A port on 127.0.0.1.
    LoopbackPort(u16),
    /// The destination port at the workload's own address (its network namespace).
    Address,
    /// It accepts no connections.
    None,
}

/// An explicit proxy port (SOCKS5 and HTTP CONNECT) of one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplicitProxy {
    /// Where it listens.
    pub listen: SocketAddr,
    /// SHA-256 of the token that its workload must present, in lower-case hex.
    pub token_sha256: Arc<str>,
    /// The only Unix uid whose processes may use it.
    pub uid: Option<u32>,
}
