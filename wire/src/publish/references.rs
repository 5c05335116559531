//! What a resource refers to: what must be in scope with it, so that it is complete.
//!
//! A workload's services are not among these: they name themselves, and its ports already say what they admit.
//! A service refers to its endpoints; that edge is known from the workloads, and [`super::Table`] adds it.

use std::collections::BTreeSet;

use mesh::{
    names::{ObjectName, ServiceKey, SetName},
    resource::{
        Admission, BackendKind, BackendTarget, Binding, Key, Kind, PolicySet, Resource, Route, RouteFilter,
        Service, Workload, WorkloadPort,
    },
};

/// The keys that a resource names.
pub(super) fn references(resource: &Resource) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    match resource {
        Resource::Workload(it) => of_workload(it, &mut keys),
        Resource::Service(it) => of_service(it, &mut keys),
        Resource::PolicySet(it) => keys.extend(members(it).map(policy)),
        Resource::Route(it) => of_route(it, &mut keys),
        Resource::Backend(it) => {
            keys.insert(set(&it.set));
            let BackendKind::Mcp { servers } = &it.kind;
            keys.extend(servers.iter().filter_map(|server| target(&server.target)));
        }
        Resource::Listener(it) => drop(keys.insert(set(&it.set))),
        Resource::Placement(it) => drop(keys.insert(Key::new(Kind::Workload, &it.workload))),
        Resource::Ranges(_)
        | Resource::Bundle(_)
        | Resource::Revocation(_)
        | Resource::Absence(_)
        | Resource::Policy(_) => {}
    }
    keys
}

/// The policies that a set names.
pub(super) fn members(set: &PolicySet) -> impl Iterator<Item = &ObjectName> {
    set.stages.iter().flat_map(|stage| &stage.policies).map(|member| &member.name)
}

fn of_workload(workload: &Workload, keys: &mut BTreeSet<Key>) {
    for WorkloadPort { admission, set: name, .. } in workload.ports.values().chain([&workload.other_ports]) {
        keys.insert(set(name));
        if let Admission::Through { dial: Some(waypoint), .. } = admission {
            keys.insert(service(waypoint));
        }
    }
}

fn of_service(it: &Service, keys: &mut BTreeSet<Key>) {
    for port in it.ports.values() {
        keys.insert(set(&port.set));
        keys.extend(port.backend.as_ref().map(backend));
    }
    if let Binding::Through(waypoint) = &it.binding {
        keys.insert(service(waypoint));
    }
}

fn of_route(route: &Route, keys: &mut BTreeSet<Key>) {
    keys.insert(set(&route.set));
    for rule in &route.rules {
        let of_backends = rule.backends.iter().flat_map(|backend| &backend.filters);
        for filter in rule.filters.iter().chain(of_backends) {
            if let RouteFilter::Mirror(mirror) = filter {
                keys.extend(target(&mirror.target));
            }
        }
        keys.extend(rule.backends.iter().filter_map(|backend| target(&backend.target)));
    }
}

fn target(to: &BackendTarget) -> Option<Key> {
    match to {
        BackendTarget::Service { service: name, .. } => Some(service(name)),
        BackendTarget::Agent(name) => Some(backend(name)),
        BackendTarget::Broken(_) => None,
    }
}

fn set(name: &SetName) -> Key {
    Key::new(Kind::PolicySet, name)
}

fn service(name: &ServiceKey) -> Key {
    Key::new(Kind::Service, name)
}

fn backend(name: &ObjectName) -> Key {
    Key::new(Kind::Backend, name)
}

fn policy(name: &ObjectName) -> Key {
    Key::new(Kind::Policy, name)
}
