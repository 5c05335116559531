//! What each namespace of a rig holds: links, addresses, routes. Pure; `fabric` carries it out.
//!
//! Nodes and control plane of a cluster share a bridge in its router's namespace, so that a node is one
//! Ethernet segment from another, as in most real clusters. Pods are never on a bridge: each is a route.
//! ```text
//!  client ── wan ══ wan0 (TUN: the emulator)       traffic between clusters takes the way over wan0
//!             ├── c1 router ─ bridge "nodes" ─┬─ c1-cp
//!             │                               ├─ c1-n1 ─ pods
//!             └── c2 router ─ …               └─ c1-n2 ─ pods
//! ```

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::namespace::Namespace;
use crate::netlink::{Change, Route, Way};
use crate::plan::{ClusterPlan, NodePlan, Plan};

/// The link of a node, a control plane and the client to the rest of the world.
pub const UPLINK: &str = "eth0";
/// The TUN of the WAN's emulator.
pub const WAN_LINK: &str = "wan0";
/// A router's bridge and, on it, the control plane's port; a node's port is `n1`, …
const BRIDGE: &str = "nodes";
const CONTROL_PLANE_PORT: &str = "cp";
/// A router's link to the WAN.
pub(crate) const ROUTER_UPLINK: &str = "wan";
const CLIENT_LINK: &str = "client";
/// The WAN's table for what comes from a cluster.
const WAN_TABLE: u32 = 100;

/// One namespace: what is made first and what once all links are there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) kind: Kind,
    pub(crate) links: Vec<Change>,
    pub(crate) changes: Vec<Change>,
}

/// What a namespace is for, as far as the kernel's settings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Passes packets on, and programs of a cluster run there.
    Node,
    /// Only passes packets on.
    Router,
    /// Only sends and receives.
    End,
}

/// Every namespace of the rig.
pub(crate) fn places(plan: &Plan) -> Vec<Place> {
    let mut places = vec![wan(plan), client(plan)];
    for cluster in plan.clusters() {
        places.push(router(&cluster));
        places.push(control_plane(&cluster));
        places.extend(cluster.nodes().map(|node| node_place(&node)));
    }
    places
}

/// The router's end of a node's cable.
pub(crate) fn port(node: &NodePlan<'_>) -> String {
    format!("n{}", node.number())
}

fn wan(plan: &Plan) -> Place {
    let mut links = vec![cable(CLIENT_LINK, &plan.client_namespace(), UPLINK)];
    let mut changes = up("lo");
    changes.extend(up(CLIENT_LINK));
    changes.push(address(CLIENT_LINK, plan.client_gateway(), plan.client_network()));
    changes.extend(up(WAN_LINK));
    for cluster in plan.clusters() {
        let link = cluster.name();
        links.push(cable(&link, &cluster.router_namespace(), ROUTER_UPLINK));
        changes.extend(up(&link));
        changes.push(address(&link, cluster.uplink_gateway(), cluster.uplink()));
        let ranges = cluster.reachable().into_iter();
        changes.extend(ranges.map(|range| route(range, Way::Via(cluster.uplink_address()))));
        changes.push(Change::Rule { link, table: WAN_TABLE });
    }
    // What comes from a cluster goes into the emulator, unless it is for the client, who is near.
    changes.push(in_table(plan.client_network(), Way::Throw));
    changes.push(in_table(everywhere(), Way::Link(WAN_LINK.to_owned())));
    Place { namespace: plan.wan_namespace(), kind: Kind::Router, links, changes }
}

fn client(plan: &Plan) -> Place {
    let mut changes = up("lo");
    changes.extend(up(UPLINK));
    changes.push(address(UPLINK, plan.client_address(), plan.client_network()));
    changes.push(route(everywhere(), Way::Via(plan.client_gateway())));
    Place { namespace: plan.client_namespace(), kind: Kind::End, links: Vec::new(), changes }
}

fn router(cluster: &ClusterPlan<'_>) -> Place {
    let mut links = vec![Change::Bridge { link: BRIDGE.to_owned() }];
    let mut changes = up("lo");
    let control_plane = (CONTROL_PLANE_PORT.to_owned(), cluster.control_plane_namespace());
    let nodes = cluster.nodes().map(|node| (port(&node), node.namespace()));
    for (port, namespace) in [control_plane].into_iter().chain(nodes) {
        links.push(cable(&port, &namespace, UPLINK));
        changes.push(Change::Port { link: port.clone(), bridge: BRIDGE.to_owned() });
        changes.extend(up(&port));
    }
    changes.extend(up(BRIDGE));
    changes.push(address(BRIDGE, cluster.router_address(), cluster.network()));
    changes.extend(up(ROUTER_UPLINK));
    changes.push(address(ROUTER_UPLINK, cluster.uplink_address(), cluster.uplink()));
    changes.push(route(everywhere(), Way::Via(cluster.uplink_gateway())));
    changes.extend(to_pods(cluster, None));
    // Every node's kube-proxy knows every load balancer.
    changes.push(route(cluster.load_balancers(), over_nodes(cluster)));
    // What is ours and has no better route must not leave by the default route and come back.
    changes.extend([cluster.site(), cluster.pods()].map(|range| route(range, Way::Unreachable)));
    Place { namespace: cluster.router_namespace(), kind: Kind::Router, links, changes }
}

fn control_plane(cluster: &ClusterPlan<'_>) -> Place {
    let mut changes = on_network(cluster, cluster.control_plane_address());
    changes.extend(to_pods(cluster, None));
    // The API server reaches webhooks by their service's address.
    changes.push(route(cluster.services(), over_nodes(cluster)));
    Place { namespace: cluster.control_plane_namespace(), kind: Kind::End, links: Vec::new(), changes }
}

fn node_place(node: &NodePlan<'_>) -> Place {
    let cluster = node.cluster();
    let mut changes = on_network(&cluster, node.address());
    changes.extend(to_pods(&cluster, Some(node.number())));
    // A pod that is gone is told from here; a route to a living pod is more exact.
    changes.push(route(node.pods(), Way::Unreachable));
    Place { namespace: node.namespace(), kind: Kind::Node, links: Vec::new(), changes }
}

fn on_network(cluster: &ClusterPlan<'_>, own: Ipv4Addr) -> Vec<Change> {
    let mut changes = up("lo");
    changes.extend(up(UPLINK));
    changes.push(address(UPLINK, own, cluster.network()));
    changes.push(route(everywhere(), Way::Via(cluster.router_address())));
    changes
}

fn to_pods(cluster: &ClusterPlan<'_>, except: Option<u8>) -> Vec<Change> {
    let others = cluster.nodes().filter(|node| Some(node.number()) != except);
    others.map(|node| route(node.pods(), Way::Via(node.address()))).collect()
}

fn over_nodes(cluster: &ClusterPlan<'_>) -> Way {
    Way::Spread(cluster.nodes().map(|node| node.address()).collect())
}

fn cable(link: &str, namespace: &str, peer: &str) -> Change {
    Change::Veth {
        link: link.to_owned(),
        mac: None,
        peer: peer.to_owned(),
        peer_mac: None,
        peer_namespace: Namespace::named(namespace).path().to_owned(),
    }
}

fn up(link: &str) -> Vec<Change> {
    vec![Change::Switch { link: link.to_owned(), on: true }]
}

fn address(link: &str, own: Ipv4Addr, network: Ipv4Net) -> Change {
    Change::Address { link: link.to_owned(), address: Ipv4Net::new_assert(own, network.prefix_len()) }
}

fn route(to: Ipv4Net, way: Way) -> Change {
    Change::Route(Route::new(to, way))
}

fn in_table(to: Ipv4Net, way: Way) -> Change {
    Change::Route(Route { table: Some(WAN_TABLE), ..Route::new(to, way) })
}

fn everywhere() -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CLUSTERS_MAX, NODES_MAX, Reach};

    fn said(namespace: &str, reach: Reach) -> Vec<String> {
        let plan = Plan::new("t", 2, 2, reach).unwrap();
        let place = places(&plan).into_iter().find(|place| place.namespace == namespace).unwrap();
        place.links.iter().chain(&place.changes).map(ToString::to_string).collect()
    }

    #[test]
    fn every_namespace_of_the_plan_is_laid_out_once() {
        let plan = Plan::new("t", CLUSTERS_MAX, NODES_MAX, Reach::Flat).unwrap();
        let mut laid_out: Vec<String> = places(&plan).into_iter().map(|place| place.namespace).collect();
        let mut planned = plan.namespaces();
        laid_out.sort();
        planned.sort();
        assert_eq!(laid_out, planned);
    }

    #[test]
    fn links_have_names_the_kernel_takes() {
        let plan = Plan::new("t", CLUSTERS_MAX, NODES_MAX, Reach::Flat).unwrap();
        for change in places(&plan).into_iter().flat_map(|place| place.links) {
            let (Change::Veth { link, .. } | Change::Bridge { link }) = change else { continue };
            assert!(link.len() <= 15, "{link}");
        }
    }

    #[test]
    fn a_node_reaches_other_nodes_pods_directly_and_the_rest_by_its_router() {
        let said = said("rig-t-c1-n1", Reach::Flat);
        for expected in [
            "addr replace 10.51.0.11/24 dev eth0",
            "route replace 0.0.0.0/0 via 10.51.0.1",
            "route replace 10.11.2.0/24 via 10.51.0.12",
            "route replace unreachable 10.11.1.0/24",
        ] {
            assert!(said.iter().any(|one| one == expected), "{expected} is not in {said:#?}");
        }
    }

    #[test]
    fn only_flat_pods_have_a_route_over_the_wan() {
        let pods = "route replace 10.12.0.0/16 via 10.99.2.2";
        assert!(said("rig-t-wan", Reach::Flat).iter().any(|one| one == pods));
        assert!(!said("rig-t-wan", Reach::Separate).iter().any(|one| one.contains("10.10.0.0/16")));
    }

    #[test]
    fn load_balancers_are_spread_over_nodes() {
        let expected = "route replace 10.51.1.0/24 nexthop via 10.51.0.11 nexthop via 10.51.0.12";
        assert!(said("rig-t-c1-router", Reach::Separate).iter().any(|one| one == expected));
    }
}
