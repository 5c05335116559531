//! Who may know what: a node what its workloads may need, a gateway what it serves. The rest on demand.
//!
//! Pure: a function of the caller, as its token proves it, and of what is published. What a root refers to comes
//! with it.

use std::collections::BTreeSet;

use mesh::{
    Identity,
    names::{NodeName, ObjectName, ServiceKey},
    resource::{Admission, Binding, Key, Kind, ListenerRole, Resource, RouteParent, Workload},
};
use wire::{
    Caller,
    publish::{Changed, Scopes, Table},
};

use crate::roll::is_gateway;

/// The scopes of a cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClusterScopes;

/// What everybody always holds.
const EVERYWHERE: [Kind; 3] = [Kind::Ranges, Kind::Bundle, Kind::Revocation];

/// What no node holds: it reads no requests, and what is secret goes to whoever uses it alone.
const NEVER_ON_NODES: [Kind; 5] = [Kind::Guard, Kind::Quota, Kind::Catalogue, Kind::Issuer, Kind::Secret];

impl Scopes for ClusterScopes {
    fn never(&self, caller: &Caller) -> &'static [Kind] {
        match caller {
            Caller::Node { .. } => &NEVER_ON_NODES,
            Caller::Gateway { .. } => &[],
        }
    }

    fn roots(&self, table: &Table, caller: &Caller) -> BTreeSet<Key> {
        let mut roots: BTreeSet<Key> =
            EVERYWHERE.into_iter().flat_map(|kind| table.of_kind(kind).cloned()).collect();
        match caller {
            Caller::Node { name } => of_node(table, name, &mut roots),
            Caller::Gateway { identity } => of_gateway(table, identity, &mut roots),
        }
        roots
    }

    fn affected(&self, changed: &Changed, caller: &Caller) -> bool {
        let came_or_went = changed.before.is_none() != changed.after.is_none();
        if EVERYWHERE.contains(&changed.key.kind) {
            return came_or_went;
        }
        match caller {
            Caller::Node { .. } => match (&changed.before, &changed.after) {
                (Some(Resource::Workload(before)), Some(Resource::Workload(after))) => {
                    before.node != after.node || before.namespace != after.namespace
                }
                // A service's namespace is in its key.
                _ => {
                    came_or_went
                        && matches!(changed.key.kind, Kind::Workload | Kind::Service | Kind::Placement)
                }
            },
            Caller::Gateway { .. } => match (&changed.before, &changed.after) {
                (Some(Resource::Workload(before)), Some(Resource::Workload(after))) => {
                    before.identity != after.identity
                        || before.services != after.services
                        || !admissions(before).eq(admissions(after))
                }
                (Some(Resource::Service(before)), Some(Resource::Service(after))) => {
                    before.binding != after.binding
                        || before.exported_to.is_empty() != after.exported_to.is_empty()
                        || backends(before) != backends(after)
                }
                (Some(Resource::Route(before)), Some(Resource::Route(after))) => {
                    before.parents != after.parents
                }
                (Some(Resource::Listener(before)), Some(Resource::Listener(after))) => {
                    before.role != after.role
                }
                _ => {
                    came_or_went
                        && matches!(
                            changed.key.kind,
                            Kind::Workload | Kind::Service | Kind::Route | Kind::Listener | Kind::Backend
                        )
                }
            },
        }
    }
}

/// Its workloads and how to deliver to them, and everything in their namespaces.
fn of_node(table: &Table, node: &NodeName, roots: &mut BTreeSet<Key>) {
    let mut namespaces = BTreeSet::new();
    for key in table.on_node(node) {
        roots.insert(key.clone());
        roots.insert(Key { kind: Kind::Placement, name: key.name.clone() });
        if let Some(Resource::Workload(workload)) = table.get(key) {
            namespaces.insert(workload.namespace.clone());
        }
    }
    if namespaces.is_empty() {
        return;
    }
    for key in table.of_kind(Kind::Service) {
        if let Some(Resource::Service(service)) = table.get(key)
            && namespaces.contains(&service.key.namespace)
        {
            roots.insert(key.clone());
        }
    }
    for key in table.of_kind(Kind::Workload) {
        if let Some(Resource::Workload(workload)) = table.get(key)
            && namespaces.contains(&workload.namespace)
        {
            roots.insert(key.clone());
        }
    }
}

/// Its listeners, what is reached through it, and what it exports if it is a gateway to other clusters.
fn of_gateway(table: &Table, identity: &Identity, roots: &mut BTreeSet<Key>) {
    let mut own: BTreeSet<&str> = BTreeSet::new();
    for key in table.of_identity(identity) {
        if let Some(Resource::Workload(workload)) = table.get(key)
            && is_gateway(workload)
        {
            roots.insert(key.clone());
            own.extend(workload.services.keys().map(|service| &**service));
        }
    }
    let Some((namespace, account)) = identity.kubernetes() else { return };
    if own.is_empty() {
        return;
    }
    let gateway = ObjectName::new("Gateway", namespace, account);
    let mut exports = false;
    for key in table.of_kind(Kind::Listener) {
        if let Some(Resource::Listener(listener)) = table.get(key)
            && listener.gateway == gateway
        {
            roots.insert(key.clone());
            exports |= listener.role == ListenerRole::EastWest;
        }
    }
    let mut served: BTreeSet<ServiceKey> = BTreeSet::new();
    for key in table.of_kind(Kind::Service) {
        let Some(Resource::Service(service)) = table.get(key) else { continue };
        let through = matches!(&service.binding, Binding::Through(waypoint) if own.contains(waypoint.to_string().as_str()));
        if through {
            served.insert(service.key.clone());
            roots.extend(backends(service).into_iter().map(|backend| Key::new(Kind::Backend, backend)));
        }
        if through || own.contains(&*key.name) || (exports && !service.exported_to.is_empty()) {
            roots.insert(key.clone());
        }
    }
    // Also workloads that are bound themselves, without a service.
    for key in table.of_kind(Kind::Workload) {
        if let Some(Resource::Workload(workload)) = table.get(key)
            && admissions(workload).any(|admission| admits(admission, identity))
        {
            roots.insert(key.clone());
        }
    }
    for key in table.of_kind(Kind::Route) {
        let Some(Resource::Route(route)) = table.get(key) else { continue };
        let ours = route.parents.iter().any(|parent| match parent {
            RouteParent::Listener { gateway: at, .. } => *at == gateway,
            RouteParent::Service { service, .. } => served.contains(service),
        });
        if ours {
            roots.insert(key.clone());
        }
    }
}

fn admissions(workload: &Workload) -> impl Iterator<Item = &Admission> {
    workload.ports.values().chain([&workload.other_ports]).map(|port| &port.admission)
}

fn admits(admission: &Admission, identity: &Identity) -> bool {
    matches!(admission, Admission::Through { waypoints, .. } if waypoints.contains(identity))
}

/// The AgentBackends for which a service stands.
fn backends(service: &mesh::resource::Service) -> BTreeSet<&ObjectName> {
    service.ports.values().filter_map(|port| port.backend.as_ref()).collect()
}
