//! One cluster and one node of a plan: their names, folders and addresses.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;

use super::{Plan, Reach, net};

/// A cluster of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterPlan<'a> {
    plan: &'a Plan,
    number: u8,
}

/// A node of a cluster of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlan<'a> {
    cluster: ClusterPlan<'a>,
    number: u8,
}

impl<'a> ClusterPlan<'a> {
    pub(super) fn new(plan: &'a Plan, number: u8) -> ClusterPlan<'a> {
        ClusterPlan { plan, number }
    }

    /// The rig it belongs to.
    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its short name: `c1`.
    pub fn name(&self) -> String {
        format!("c{}", self.number)
    }

    /// The folder of its state.
    pub fn folder(&self) -> PathBuf {
        self.plan.folder().join(self.name())
    }

    /// Where its etcd, API server, controllers and scheduler run.
    pub fn control_plane_namespace(&self) -> String {
        self.plan.namespace(&format!("{}-cp", self.name()))
    }

    /// Where its nodes' network meets the WAN.
    pub fn router_namespace(&self) -> String {
        self.plan.namespace(&format!("{}-router", self.name()))
    }

    /// The range of all its pods.
    pub fn pods(&self) -> Ipv4Net {
        net([10, self.pods_octet(), 0, 0], 16)
    }

    /// The range of its services' cluster addresses.
    pub fn services(&self) -> Ipv4Net {
        net([10, self.services_octet(), 0, 0], 16)
    }

    /// The address of the service `kubernetes`: the first of the range, as Kubernetes chooses it.
    pub fn kubernetes_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.services_octet(), 0, 1)
    }

    /// The address of the cluster's DNS service.
    pub fn dns_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.services_octet(), 0, 10)
    }

    /// The network of its nodes, control plane and router.
    pub fn network(&self) -> Ipv4Net {
        net([10, self.site_octet(), 0, 0], 24)
    }

    /// Its router, from inside. In separate networks everything that leaves comes from this address.
    pub fn router_address(&self) -> Ipv4Addr {
        self.on_network(1)
    }

    /// Its control plane; the API server listens here on [`super::API_PORT`].
    pub fn control_plane_address(&self) -> Ipv4Addr {
        self.on_network(2)
    }

    /// The addresses for its services of type LoadBalancer, routed to its nodes from everywhere.
    pub fn load_balancers(&self) -> Ipv4Net {
        net([10, self.site_octet(), 1, 0], 24)
    }

    /// All that is the cluster's own beside pods and services: node network and load balancers.
    pub fn site(&self) -> Ipv4Net {
        net([10, self.site_octet(), 0, 0], 16)
    }

    /// The link between its router and the WAN.
    pub fn uplink(&self) -> Ipv4Net {
        net([10, 99, self.number, 0], 30)
    }

    /// The WAN's end of the uplink.
    pub fn uplink_gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number, 1)
    }

    /// The router's end of the uplink.
    pub fn uplink_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.number, 2)
    }

    /// The ranges that the rest of the world may send to, as routes; a firewall may let in less.
    pub fn reachable(&self) -> Vec<Ipv4Net> {
        match self.plan.reach() {
            Reach::Flat => vec![self.site(), self.pods()],
            Reach::Separate => vec![self.site()],
        }
    }

    /// The node with this number, from 1.
    pub fn node(&self, number: u8) -> Option<NodePlan<'a>> {
        (1..=self.plan.node_count()).contains(&number).then_some(NodePlan { cluster: *self, number })
    }

    /// All its nodes, in order.
    pub fn nodes(&self) -> impl Iterator<Item = NodePlan<'a>> + use<'a> {
        let cluster = *self;
        (1..=self.plan.node_count()).map(move |number| NodePlan { cluster, number })
    }

    fn on_network(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.site_octet(), 0, last)
    }

    fn pods_octet(&self) -> u8 {
        match self.plan.reach() {
            Reach::Flat => 10 + self.number,
            Reach::Separate => 10,
        }
    }

    fn services_octet(&self) -> u8 {
        match self.plan.reach() {
            Reach::Flat => 110 + self.number,
            Reach::Separate => 110,
        }
    }

    fn site_octet(&self) -> u8 {
        50 + self.number
    }
}

impl<'a> NodePlan<'a> {
    /// The cluster it belongs to.
    pub fn cluster(&self) -> ClusterPlan<'a> {
        self.cluster
    }

    /// Its number in the cluster, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its name in Kubernetes, unique in the rig: `c1-n1`.
    pub fn name(&self) -> String {
        format!("{}-n{}", self.cluster.name(), self.number)
    }

    /// Its network namespace.
    pub fn namespace(&self) -> String {
        self.cluster.plan.namespace(&self.name())
    }

    /// Its address on the cluster's network.
    pub fn address(&self) -> Ipv4Addr {
        self.cluster.on_network(10 + self.number)
    }

    /// The range of its pods.
    pub fn pods(&self) -> Ipv4Net {
        net([10, self.cluster.pods_octet(), self.number, 0], 24)
    }

    /// The folder of its state.
    pub fn folder(&self) -> PathBuf {
        self.cluster.folder().join(format!("n{}", self.number))
    }

    /// The folder that is `/` for hostPath volumes of its pods.
    pub fn root(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// Where the CNI plugin keeps the addresses it has given out.
    pub fn address_folder(&self) -> PathBuf {
        self.folder().join("addresses")
    }
}
