//! Builds and removes the namespaces of a rig and what is between them.

use std::fs;
use std::io;
use std::path::Path;

use crate::firewall::{self, FirewallError};
use crate::layout::{self, Kind, Place, WAN_LINK};
use crate::namespace::{LinkState, NAMED, Namespace};
use crate::netlink::{Change, NetlinkError};
use crate::plan::{self, NodePlan, Plan, Reach};
use crate::running;
use crate::wan::tun;

/// Settings of every namespace that passes packets on. Settings for all links come before any link is made.
const FORWARDING: [(&str, &str); 1] = [("net/ipv4/ip_forward", "1")];
/// Settings of every namespace. Answers may come by another way than questions went, and nobody is told of
/// shorter ways.
const EVERYWHERE: [(&str, &str); 4] = [
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
];
/// Settings of routers: connections are spread, not pairs of addresses; bridges pass frames on without asking
/// the firewall; no chatter of IPv6.
const ROUTERS: [(&str, &str); 6] = [
    ("net/ipv4/fib_multipath_hash_policy", "1"),
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
];

/// Why the network of a rig could not be built.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// A namespace could not be made.
    #[error("cannot make the network namespace {name}: {cause}{hint}")]
    Namespace {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        cause: io::Error,
        /// What may help.
        hint: &'static str,
    },
    /// The kernel refused a link, address or route.
    #[error("in the network namespace {namespace}: {cause}")]
    Change {
        /// Where.
        namespace: String,
        /// What and why.
        #[source]
        cause: NetlinkError,
    },
    /// The WAN's device could not be made.
    #[error("cannot make the WAN's device {WAN_LINK} (does the kernel have TUN, and is /dev/net/tun there?)")]
    Tun(#[source] io::Error),
    /// A router has no firewall.
    #[error("cluster {cluster} would be open to the others")]
    Firewall {
        /// Its name.
        cluster: String,
        /// Why.
        #[source]
        cause: FirewallError,
    },
}

/// The network of a rig that is up.
#[derive(Clone, Debug)]
pub struct Fabric {
    plan: Plan,
}

impl Fabric {
    /// Builds the network of a plan, all of it or nothing. Its names must be free: see [`crate::sweep()`].
    pub fn build(plan: &Plan) -> Result<Fabric, FabricError> {
        if let Some(taken) = names(plan.id()).into_iter().next() {
            // Before anything is made, so that the failure's tidying does not take another's rig.
            return Err(namespace_error(taken, io::ErrorKind::AlreadyExists.into()));
        }
        let built = build(plan);
        if built.is_err() {
            // The first failure is the one to tell; a sweep before the next start takes what stays.
            let _ = Fabric::remove(plan.id());
        }
        built.map(|()| Fabric { plan: plan.clone() })
    }

    /// The network of a plan that is up already.
    pub fn of(plan: &Plan) -> Fabric {
        Fabric { plan: plan.clone() }
    }

    /// Removes all namespaces of a rig, and with them links, routes and rules. Processes in them keep theirs
    /// alive: [`crate::sweep()`] ends those first.
    pub fn remove(id: &str) -> io::Result<()> {
        let mut result = Ok(());
        for name in names(id) {
            result = result.and(Namespace::named(&name).remove());
        }
        result
    }

    /// Pulls a node's cable out of its router, or puts it back. The node keeps its addresses and routes.
    pub fn cable(&self, node: &NodePlan<'_>, state: LinkState) -> Result<(), FabricError> {
        let namespace = node.cluster().router_namespace();
        let result = Namespace::named(&namespace).link(&layout::port(node), state);
        result.map_err(|cause| FabricError::Change { namespace, cause })
    }

    /// The namespace outside every cluster.
    pub fn client(&self) -> Namespace {
        Namespace::named(&self.plan.client_namespace())
    }

    /// The namespace between the clusters.
    pub fn wan(&self) -> Namespace {
        Namespace::named(&self.plan.wan_namespace())
    }
}

/// The named namespaces of a rig that are there, whole or half made.
pub(crate) fn names(id: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMED) else { return Vec::new() };
    let prefix = plan::prefix(id);
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

fn build(plan: &Plan) -> Result<(), FabricError> {
    let places = layout::places(plan);
    for place in &places {
        create(place)?;
    }
    for place in places.iter().filter(|place| !place.links.is_empty()) {
        change(place, &place.links)?;
    }
    let wan = Namespace::named(&plan.wan_namespace());
    wan.enter(|| tun::create(WAN_LINK)).and_then(|made| made).map_err(FabricError::Tun)?;
    for place in &places {
        change(place, &place.changes)?;
    }
    for place in &places {
        carries(place)?;
    }
    if plan.reach() == Reach::Separate {
        for cluster in plan.clusters() {
            firewall::set(&cluster)
                .map_err(|cause| FabricError::Firewall { cluster: cluster.name(), cause })?;
        }
    }
    Ok(())
}

fn create(place: &Place) -> Result<(), FabricError> {
    let result = Namespace::named(&place.namespace).create(|| settings(place.kind));
    result.map_err(|cause| namespace_error(place.namespace.clone(), cause))
}

fn namespace_error(name: String, cause: io::Error) -> FabricError {
    let hint = match cause.kind() {
        io::ErrorKind::PermissionDenied => " (the rig needs root)",
        io::ErrorKind::AlreadyExists => " (a rig of this id is up; take it down first)",
        _ => "",
    };
    FabricError::Namespace { name, cause, hint }
}

fn change(place: &Place, changes: &[Change]) -> Result<(), FabricError> {
    let result = Namespace::named(&place.namespace).change(changes);
    result.map_err(|cause| FabricError::Change { namespace: place.namespace.clone(), cause })
}

/// Waits for the links of a namespace; the WAN's device waits for its emulator instead.
fn carries(place: &Place) -> Result<(), FabricError> {
    let on = place.changes.iter().filter_map(|change| match change {
        Change::Switch { link, on: true } if link != WAN_LINK => Some(link.as_str()),
        _ => None,
    });
    let links: Vec<&str> = on.collect();
    let waited = Namespace::named(&place.namespace).enter(|| running::wait(&links)).and_then(|waited| waited);
    waited.map_err(|cause| namespace_error(place.namespace.clone(), cause))
}

fn settings(kind: Kind) -> io::Result<()> {
    let (forwarding, routers): (&[_], &[_]) = match kind {
        Kind::Node => (&FORWARDING, &[]),
        Kind::Router => (&FORWARDING, &ROUTERS),
        Kind::End => (&[], &[]),
    };
    for (name, value) in EVERYWHERE.iter().chain(forwarding).chain(routers) {
        match fs::write(Path::new("/proc/sys").join(name), value) {
            // A kernel without bridge filtering or IPv6 has nothing to switch off.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}
