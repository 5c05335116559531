//! What all pod loops share.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::{Client, runtime::reflector::Store};
use tokio::sync::Semaphore;

use crate::{
    bundle::network::Names, cni::Chain, config::Config, events::Events, objects::Objects, paths::Paths,
    registry::Pods, runc::Runc,
};

/// How many pods and containers are started at once.
pub const STARTING_MAX: usize = 4;

/// What all pod loops share.
pub struct Context {
    /// What podlet was told.
    pub config: Arc<Config>,
    /// Where things lie.
    pub paths: Paths,
    /// The runc program.
    pub runc: Runc,
    /// The API server.
    pub client: Client,
    /// ConfigMaps and Secrets.
    pub objects: Objects,
    /// Services, for variables.
    pub services: Store<Service>,
    /// Events.
    pub events: Events,
    /// What the kubelet's API shows.
    pub registry: Arc<Pods>,
    /// The network.
    pub chain: Chain,
    /// Who may start something now.
    pub starting: Semaphore,
    /// The node's `resolv.conf`.
    pub node_resolv: String,
}

impl Context {
    /// What the cluster says about names.
    pub fn names(&self) -> Names<'_> {
        Names {
            dns: &self.config.cluster_dns,
            domain: &self.config.cluster_domain,
            node: &self.config.node_name,
            node_resolv: &self.node_resolv,
        }
    }
}
