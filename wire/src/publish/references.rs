//! What a resource refers to: what must be in scope with it, so that it is complete.
//!
//! A workload's services are not among these: they name themselves, and its ports already say what they admit.
//! A service refers to its endpoints; that edge is known from the workloads, and [`super::Table`] adds it.

use std::collections::BTreeSet;

use mesh::{
    names::{ObjectName, ServiceKey, SetName},
    resource::{
        Admission, Backend, BackendKind, BackendTarget, Binding, IssuerKind, JwtKeys, Key, Kind, Listener,
        ListenerRole, PolicySet, Resource, Route, RouteFilter, Service, Traffic, UpstreamAuth, Workload,
        WorkloadPort,
    },
};

/// The keys that a resource names.
pub(super) fn references(resource: &Resource) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    match resource {
        Resource::Workload(it) => of_workload(it, &mut keys),
        Resource::Service(it) => of_service(it, &mut keys),
        Resource::PolicySet(it) => {
            keys.extend(members(it).map(policy));
            keys.extend(it.guards.iter().map(|guard| Key::new(Kind::Guard, guard)));
            keys.extend(it.quotas.iter().map(|quota| Key::new(Kind::Quota, quota)));
        }
        Resource::Policy(it) => keys.extend(it.authorizer.iter().filter_map(|it| target(&it.target))),
        Resource::Guard(it) => keys.extend(it.external.iter().filter_map(|it| target(&it.target))),
        Resource::Issuer(it) => {
            if let IssuerKind::Jwt { keys: JwtKeys::Fetched { target: to, .. }, .. } = &it.kind {
                keys.extend(target(to));
            }
        }
        Resource::Route(it) => of_route(it, &mut keys),
        Resource::Backend(it) => of_backend(it, &mut keys),
        Resource::Listener(it) => of_listener(it, &mut keys),
        Resource::Placement(it) => drop(keys.insert(Key::new(Kind::Workload, &it.workload))),
        Resource::Ranges(_)
        | Resource::Bundle(_)
        | Resource::Revocation(_)
        | Resource::Absence(_)
        | Resource::Quota(_)
        | Resource::Catalogue(_)
        | Resource::Secret(_) => {}
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

fn of_backend(it: &Backend, keys: &mut BTreeSet<Key>) {
    keys.insert(set(&it.set));
    keys.extend(it.catalogue.as_ref().map(|name| Key::new(Kind::Catalogue, name)));
    of_traffic(&it.traffic, keys);
    let mut calls = |to: &BackendTarget, auth: &Option<UpstreamAuth>| {
        keys.extend(target(to));
        keys.extend(auth.as_ref().map(|auth| Key::new(Kind::Secret, &auth.secret)));
    };
    match &it.kind {
        BackendKind::Mcp { servers } => servers.iter().for_each(|server| calls(&server.target, &server.auth)),
        BackendKind::A2a { target, .. } => calls(target, &None),
        BackendKind::Llm { groups } => {
            let providers = groups.iter().flat_map(|group| &group.providers);
            providers.for_each(|provider| calls(&provider.target, &provider.auth));
        }
        BackendKind::Host { target, auth } => calls(target, auth),
    }
}

fn of_listener(it: &Listener, keys: &mut BTreeSet<Key>) {
    keys.insert(set(&it.set));
    of_traffic(&it.traffic, keys);
    if let ListenerRole::Https { certificates } = &it.role {
        keys.extend(certificates.iter().map(|secret| Key::new(Kind::Secret, secret)));
    }
}

/// Issuers are cluster-scoped, and named by their short name.
fn of_traffic(it: &Traffic, keys: &mut BTreeSet<Key>) {
    let issuers = it.authentication.iter().flat_map(|it| &it.issuers);
    keys.extend(issuers.map(|name| Key::new(Kind::Issuer, ObjectName::new("TokenIssuer", "", name))));
}

fn of_service(it: &Service, keys: &mut BTreeSet<Key>) {
    for port in it.ports.values() {
        keys.insert(set(&port.set));
        of_traffic(&port.traffic, keys);
        keys.extend(port.backend.as_ref().map(backend));
    }
    if let Binding::Through(waypoint) = &it.binding {
        keys.insert(service(waypoint));
    }
}

fn of_route(route: &Route, keys: &mut BTreeSet<Key>) {
    keys.insert(set(&route.set));
    for rule in &route.rules {
        of_traffic(&rule.traffic, keys);
        rule.backends.iter().for_each(|backend| of_traffic(&backend.traffic, keys));
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
        BackendTarget::Host(_) | BackendTarget::Broken(_) => None,
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
