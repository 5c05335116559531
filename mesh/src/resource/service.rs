//! Services: names that clients dial, and how a request to them is led.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::Traffic;
use crate::{
    identity::{Identity, TrustDomain},
    names::{Hostname, ServiceKey, SetName},
};

/// A name with ports. Its endpoints are the workloads that name it in `services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Namespace and full name.
    pub key: ServiceKey,
    /// Its short name.
    pub name: Arc<str>,
    /// Further names that mean the same.
    pub aliases: Vec<Hostname>,
    /// Its virtual addresses, in the sender's network.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: BTreeMap<u16, ServicePort>,
    /// The waypoint through which it is reached.
    pub binding: Binding,
    /// How an endpoint is chosen at layer 4.
    pub balancing: Balancing,
    /// The link trust domains to which it is exported; empty: to none.
    pub exported_to: BTreeSet<TrustDomain>,
    /// Who serves it, for a second tunnel from another cluster.
    pub identities: Vec<Identity>,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePort {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// What it speaks.
    pub protocol: Protocol,
    /// The policies of requests addressed to it.
    pub set: SetName,
    /// How a waypoint delivers to it where no route says otherwise.
    pub traffic: Traffic,
    /// The AgentBackend that it stands for, if it was made for one.
    pub backend: Option<crate::names::ObjectName>,
}

/// What a port speaks, from `appProtocol` or the port's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Bytes; a waypoint relays them.
    Tcp,
    /// HTTP/1.1, or HTTP/2 where both ends agree.
    Http,
    /// HTTP/2 in clear text (`kubernetes.io/h2c`), gRPC.
    Http2,
    /// The Model Context Protocol over HTTP (`strait.dev/mcp`).
    Mcp,
    /// The Agent2Agent protocol over HTTP (`strait.dev/a2a`).
    A2a,
    /// A provider's API of models over HTTP (`strait.dev/llm`).
    Llm,
}

/// Whether a service is reached through a waypoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Binding {
    /// No waypoint.
    None,
    /// Through the workloads of this service, which is a Gateway. If there are none, refuse.
    Through(ServiceKey),
    /// A waypoint was asked for and cannot be had: refuse, with the reason.
    Missing(Arc<str>),
}

/// Which endpoints are eligible, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balancing {
    /// The scopes in which an endpoint may agree with the caller, most important first.
    pub prefer: Vec<Scope>,
    /// True: only endpoints that agree in every scope. False: those that agree in most come first.
    pub strict: bool,
}

/// In what an endpoint can be near its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)] // The words are those of Kubernetes' topology.
pub enum Scope {
    Network,
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
}
