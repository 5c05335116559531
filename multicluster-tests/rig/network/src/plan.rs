//! Who is called what and lives at which address: the whole plan of a rig, as pure functions.
//!
//! Clusters and nodes are counted from 1. Nothing here opens or asks anything, so that a program in any
//! namespace, and a test on any machine, comes to the same answer from the same four facts.

mod cluster;
#[cfg(test)]
mod tests;

pub use cluster::{ClusterPlan, NodePlan};

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// The folder that holds the state of every running rig, one folder an id.
pub const STATE: &str = "/run/strait-rig";
/// How many clusters a rig may have. The address plan would hold 39.
pub const CLUSTERS_MAX: u8 = 8;
/// How many nodes a cluster may have. The address plan would hold 244.
pub const NODES_MAX: u8 = 16;
/// How many letters an id may have.
pub const ID_LEN_MAX: usize = 24;
/// The port of every API server, inside its namespace.
pub const API_PORT: u16 = 6443;

/// How far the clusters' networks reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Pod and node addresses are unique, and routed from every cluster to every other.
    Flat,
    /// Pod and service ranges are the same in every cluster, and only the addresses of load balancers are
    /// reached from outside.
    Separate,
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reach::Flat => "flat",
            Reach::Separate => "separate",
        })
    }
}

impl FromStr for Reach {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Reach, PlanError> {
        match text {
            "flat" => Ok(Reach::Flat),
            "separate" => Ok(Reach::Separate),
            other => Err(PlanError::Reach(other.to_owned())),
        }
    }
}

/// Why a rig of this shape cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The id would not make clear names.
    #[error("the id {0:?} must be 1 to {ID_LEN_MAX} lowercase letters and digits, beginning with a letter")]
    Id(String),
    /// Too few or too many clusters.
    #[error("{0} clusters: ask for 1 to {CLUSTERS_MAX}")]
    Clusters(u8),
    /// Too few or too many nodes.
    #[error("{0} nodes a cluster: ask for 1 to {NODES_MAX}")]
    Nodes(u8),
    /// No such reach.
    #[error("the network {0:?} is unknown: say flat or separate")]
    Reach(String),
}

/// A whole rig: everything else about names and addresses follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Asked", into = "Asked")]
pub struct Plan {
    id: String,
    clusters: u8,
    nodes: u8,
    reach: Reach,
}

/// A plan as it is written into a file, before it is checked.
#[derive(Clone, Serialize, Deserialize)]
struct Asked {
    id: String,
    clusters: u8,
    nodes: u8,
    reach: Reach,
}

impl TryFrom<Asked> for Plan {
    type Error = PlanError;

    fn try_from(asked: Asked) -> Result<Plan, PlanError> {
        Plan::new(&asked.id, asked.clusters, asked.nodes, asked.reach)
    }
}

impl From<Plan> for Asked {
    fn from(plan: Plan) -> Asked {
        Asked { id: plan.id, clusters: plan.clusters, nodes: plan.nodes, reach: plan.reach }
    }
}

impl Plan {
    /// Plans `clusters` clusters of `nodes` nodes each.
    pub fn new(id: &str, clusters: u8, nodes: u8, reach: Reach) -> Result<Plan, PlanError> {
        check_id(id)?;
        if !(1..=CLUSTERS_MAX).contains(&clusters) {
            return Err(PlanError::Clusters(clusters));
        }
        if !(1..=NODES_MAX).contains(&nodes) {
            return Err(PlanError::Nodes(nodes));
        }
        Ok(Plan { id: id.to_owned(), clusters, nodes, reach })
    }

    /// The id that all names begin with.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many clusters there are.
    pub fn cluster_count(&self) -> u8 {
        self.clusters
    }

    /// How many nodes each cluster has.
    pub fn node_count(&self) -> u8 {
        self.nodes
    }

    /// How far the clusters' networks reach.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// The cluster with this number, from 1.
    pub fn cluster(&self, number: u8) -> Option<ClusterPlan<'_>> {
        (1..=self.clusters).contains(&number).then(|| ClusterPlan::new(self, number))
    }

    /// All clusters, in order.
    pub fn clusters(&self) -> impl Iterator<Item = ClusterPlan<'_>> {
        (1..=self.clusters).map(|number| ClusterPlan::new(self, number))
    }

    /// The folder of this rig's state.
    pub fn folder(&self) -> PathBuf {
        folder(&self.id)
    }

    /// The socket on which the WAN is told what to do.
    pub fn wan_socket(&self) -> PathBuf {
        self.folder().join("wan.sock")
    }

    /// The namespace between the clusters, where the WAN is emulated.
    pub fn wan_namespace(&self) -> String {
        self.namespace("wan")
    }

    /// The namespace of people and load outside every cluster.
    pub fn client_namespace(&self) -> String {
        self.namespace("client")
    }

    /// The client's link: the WAN's end is [`Plan::client_gateway`].
    pub fn client_network(&self) -> Ipv4Net {
        net([10, 98, 0, 0], 30)
    }

    /// The client's address.
    pub fn client_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, 0, 2)
    }

    /// The WAN's address towards the client.
    pub fn client_gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 98, 0, 1)
    }

    /// Every named namespace of the rig.
    pub fn namespaces(&self) -> Vec<String> {
        let mut names = vec![self.wan_namespace(), self.client_namespace()];
        for cluster in self.clusters() {
            names.push(cluster.router_namespace());
            names.push(cluster.control_plane_namespace());
            names.extend(cluster.nodes().map(|node| node.namespace()));
        }
        names
    }

    fn namespace(&self, role: &str) -> String {
        format!("{}{role}", prefix(&self.id))
    }
}

/// What the names of all namespaces of rig `id` begin with. Ids have no dash, so no id's prefix begins
/// another's.
pub fn prefix(id: &str) -> String {
    format!("rig-{id}-")
}

/// The folder of the state of rig `id`.
pub fn folder(id: &str) -> PathBuf {
    Path::new(STATE).join(id)
}

/// Refuses an id that would make unclear names or leave the rig's folder.
pub fn check_id(id: &str) -> Result<(), PlanError> {
    let starts = id.starts_with(|first: char| first.is_ascii_lowercase());
    let letters = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if starts && letters && id.len() <= ID_LEN_MAX { Ok(()) } else { Err(PlanError::Id(id.to_owned())) }
}

fn net(octets: [u8; 4], prefix_len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from(octets), prefix_len)
}
