//! Where a route is attached, and what its references lead to: parents, backends, grants.

use api::{
    Kind, Name, Resource,
    gateway::{GATEWAY_GROUP, GatewayListener},
    http_route::{HttpRouteSpec, ParentRef},
    object::{GROUP, MCS_GROUP},
};
use mesh::{
    names::ServiceKey,
    resource::{BackendTarget, RouteParent},
};

use crate::{
    binding::{Bound, Class, Gateway, is_edge, is_tunnel},
    exports::ExportedName,
    names,
    reader::Reader,
    references::BackendReference,
    status::Fault,
};

/// One parent of a route: where it is attached, or why it is not.
pub(crate) struct Attachment<'w> {
    pub(crate) parent: &'w ParentRef,
    pub(crate) place: Result<Place<'w>, Fault>,
}

/// Where a route is attached.
pub(crate) enum Place<'w> {
    /// To listeners of a Gateway.
    Listeners { gateway: Box<Gateway<'w>>, listeners: Vec<&'w GatewayListener>, hostnames: Vec<String> },
    /// To a Service, which is reached through a waypoint.
    Service { service: ServiceKey, port: Option<u16>, bound: Box<Bound<'w>>, name: Name },
}

impl<'w> Place<'w> {
    /// The Gateway whose proxies carry the route out, once it is in the way.
    pub(crate) fn gateway(&self) -> Option<&Gateway<'w>> {
        match self {
            Self::Listeners { gateway, .. } => Some(gateway),
            Self::Service { bound, .. } => bound.through(),
        }
    }

    /// The Gateway that speaks for its callers. At an edge they are outside: there it calls as itself.
    pub(crate) fn voucher(&self) -> Option<&Gateway<'w>> {
        match self {
            Self::Listeners { listeners, .. } if !listeners.iter().any(|it| is_tunnel(it)) => None,
            _ => self.gateway(),
        }
    }

    pub(crate) fn parents(&self) -> Vec<RouteParent> {
        match self {
            Self::Service { service, port, .. } => {
                vec![RouteParent::Service { service: service.clone(), port: *port }]
            }
            Self::Listeners { gateway, listeners, .. } => {
                let parent = |listener: &&GatewayListener| RouteParent::Listener {
                    gateway: names::object(&gateway.name),
                    listener: listener.name.as_str().into(),
                };
                listeners.iter().map(parent).collect()
            }
        }
    }
}

/// Finds every parent of a route.
pub(crate) fn attachments<'w>(
    reader: &Reader<'w>,
    name: &Name,
    route: &'w Resource<HttpRouteSpec>,
) -> Vec<Attachment<'w>> {
    let parents = route.spec.parent_refs.iter();
    parents.map(|parent| Attachment { parent, place: place(reader, name, route, parent) }).collect()
}

fn place<'w>(
    reader: &Reader<'w>,
    name: &Name,
    route: &'w Resource<HttpRouteSpec>,
    parent: &'w ParentRef,
) -> Result<Place<'w>, Fault> {
    let namespace = parent.namespace.as_ref().map_or(name.namespace.as_str(), |namespace| namespace.as_str());
    match (parent.group.as_str(), parent.kind.as_str()) {
        (GATEWAY_GROUP, "Gateway") => {
            let gateway = Name::new(Kind::Gateway, namespace, parent.name.as_str());
            to_gateway(reader, name, route, parent, &gateway)
        }
        ("", "Service") => {
            let service = Name::new(Kind::Service, namespace, parent.name.as_str());
            to_service(reader, name, parent, service)
        }
        (group, kind) => Err(Fault::new(
            "InvalidKind",
            format!("a route is attached to a Gateway or a Service, not to {kind} of {group:?}"),
        )),
    }
}

fn to_gateway<'w>(
    reader: &Reader<'w>,
    name: &Name,
    route: &'w Resource<HttpRouteSpec>,
    parent: &ParentRef,
    gateway: &Name,
) -> Result<Place<'w>, Fault> {
    let gateway = Gateway::find(reader, gateway).map_err(|fault| match fault.reason {
        "WaypointNotFound" => Fault::new("NoMatchingParent", format!("there is no {gateway}")),
        _ => fault,
    })?;
    if gateway.class == Class::EastWest {
        return Err(Fault::new(
            "NotAllowedByListeners",
            format!("{} forwards tunnels and reads no requests", gateway.name),
        ));
    }
    let all = gateway.spec.map_or(&[][..], |spec| &spec.listeners);
    let meant: Vec<&GatewayListener> = all
        .iter()
        .filter(|listener| {
            parent.section_name.as_ref().is_none_or(|section| *section == listener.name.as_str())
        })
        .filter(|listener| parent.port.is_none_or(|port| port == listener.port))
        .filter(|listener| serves_http(gateway.class, listener))
        .collect();
    if meant.is_empty() {
        return Err(Fault::new(
            "NoMatchingParent",
            format!("{} has no such listener for HTTP", gateway.name),
        ));
    }
    let allowed: Vec<&GatewayListener> = meant
        .into_iter()
        .filter(|listener| gateway.admits(reader, Some(listener), &name.namespace) && admits_kind(listener))
        .collect();
    if allowed.is_empty() {
        return Err(Fault::new(
            "NotAllowedByListeners",
            format!(
                "the listeners of {} do not allow an HTTPRoute of namespace {}",
                gateway.name, name.namespace
            ),
        ));
    }
    let (listeners, hostnames) = intersect(&allowed, route);
    if listeners.is_empty() {
        return Err(Fault::new(
            "NoMatchingListenerHostname",
            format!("none of the route's hostnames is served by the listeners of {}", gateway.name),
        ));
    }
    Ok(Place::Listeners { gateway: Box::new(gateway), listeners, hostnames })
}

/// True if a listener serves requests of HTTP, whoever sends them.
fn serves_http(class: Class, listener: &GatewayListener) -> bool {
    is_tunnel(listener) || (class == Class::NorthSouth && is_edge(listener))
}

fn admits_kind(listener: &GatewayListener) -> bool {
    let kinds = listener.allowed_routes.as_ref().map(|allowed| &allowed.kinds);
    kinds.is_none_or(|kinds| {
        kinds.is_empty() || kinds.iter().any(|kind| kind.group == GATEWAY_GROUP && kind.kind == "HTTPRoute")
    })
}

/// The listeners that serve some of the route's hosts, and the hosts that they serve.
fn intersect<'w>(
    listeners: &[&'w GatewayListener],
    route: &Resource<HttpRouteSpec>,
) -> (Vec<&'w GatewayListener>, Vec<String>) {
    let wanted = &route.spec.hostnames;
    let mut serving = Vec::new();
    let mut hostnames: Vec<String> = Vec::new();
    for listener in listeners {
        let own = listener.hostname.as_ref().map(|name| name.as_str());
        let shared: Vec<String> = match (own, wanted.is_empty()) {
            (None, true) => Vec::new(),
            (Some(own), true) => vec![own.to_owned()],
            (None, false) => wanted.iter().map(|name| name.as_str().to_owned()).collect(),
            (Some(own), false) => wanted.iter().filter_map(|name| narrower(own, name.as_str())).collect(),
        };
        if shared.is_empty() && !(own.is_none() && wanted.is_empty()) {
            continue;
        }
        serving.push(*listener);
        hostnames.extend(shared);
    }
    hostnames.sort();
    hostnames.dedup();
    (serving, hostnames)
}

/// The hosts that two patterns share, as a pattern.
fn narrower(a: &str, b: &str) -> Option<String> {
    let covers = |wide: &str, narrow: &str| match wide.strip_prefix('*') {
        // `*.example.com` covers what is below example.com, and `*.a.example.com`.
        Some(suffix) => {
            narrow.trim_start_matches('*').ends_with(suffix)
                && narrow.len() > suffix.len()
                && narrow != suffix
        }
        None => wide == narrow,
    };
    let found = if covers(a, b) {
        b
    } else if covers(b, a) {
        a
    } else {
        return None;
    };
    Some(found.to_ascii_lowercase())
}

fn to_service<'w>(
    reader: &Reader<'w>,
    route: &Name,
    parent: &ParentRef,
    name: Name,
) -> Result<Place<'w>, Fault> {
    if name.namespace != route.namespace {
        // A route of another namespace would speak for its callers alone (a consumer route).
        return Err(Fault::new(
            "NotBuiltYet",
            "a route is attached to a Service of its own namespace; routes of consumers are not built yet",
        ));
    }
    if parent.section_name.is_some() {
        return Err(Fault::new("NotBuiltYet", "a Service's port is named by `port`, not by `sectionName`"));
    }
    let Some(service) = reader.service(&name.namespace, &name.name) else {
        return Err(Fault::new("NoMatchingParent", format!("there is no {name}")));
    };
    if let Some(port) = parent.port
        && !service.spec.ports.iter().any(|own| own.port == port)
    {
        return Err(Fault::new("NoMatchingParent", format!("{name} has no port {port}")));
    }
    let bound = Bound::of_service(reader, &name, &service.metadata.labels);
    match &bound {
        Bound::No => Err(Fault::new(
            "NoWaypoint",
            format!(
                "{name} has no waypoint that could carry the route out: label it or its namespace strait.dev/use-waypoint: NAME (or auto)"
            ),
        )),
        _ => Ok(Place::Service {
            service: names::service(reader.settings(), &name.namespace, &name.name),
            port: parent.port,
            bound: Box::new(bound),
            name,
        }),
    }
}

/// What a backend reference leads to, and whose it is.
pub(crate) struct Backend {
    pub(crate) target: BackendTarget,
    pub(crate) name: Name,
}

/// Resolves a reference.
pub(crate) fn backend(reader: &Reader<'_>, from: &Name, to: &BackendReference<'_>) -> Result<Backend, Fault> {
    let kind = match (to.group, to.kind) {
        ("", "Service") => Kind::Service,
        (GROUP, "AgentBackend") => Kind::AgentBackend,
        (MCS_GROUP, "ServiceImport") => Kind::ServiceImport,
        (group, kind) => {
            return Err(Fault::new(
                "InvalidKind",
                format!("a backend is a Service, ServiceImport or AgentBackend, not {kind} of {group:?}"),
            ));
        }
    };
    let name = Name::new(kind, to.namespace, to.name);
    if from.namespace != to.namespace && !granted(reader, from, &name) {
        return Err(Fault::new(
            "RefNotPermitted",
            format!(
                "no ReferenceGrant in namespace {} lets {} of namespace {} name {name}",
                to.namespace, from.kind, from.namespace
            ),
        ));
    }
    let missing = || Fault::new("BackendNotFound", format!("there is no {name}"));
    let no_port = || Fault::new("UnsupportedValue", format!("{name} is named without a port"));
    let target = match kind {
        Kind::Service => {
            let service = reader.service(to.namespace, to.name).ok_or_else(missing)?;
            let port = to.port.ok_or_else(no_port)?;
            if !service.spec.ports.iter().any(|own| own.port == port) {
                return Err(Fault::new("BackendNotFound", format!("{name} has no port {port}")));
            }
            BackendTarget::Service { service: names::service(reader.settings(), to.namespace, to.name), port }
        }
        Kind::ServiceImport => {
            let port = to.port.ok_or_else(no_port)?;
            if !is_imported(reader, to.namespace, to.name) {
                return Err(Fault::new(
                    "BackendNotFound",
                    format!("no link imports a service {} into namespace {}", to.name, to.namespace),
                ));
            }
            BackendTarget::Service { service: names::import(to.namespace, to.name), port }
        }
        _ => {
            reader.backend(to.namespace, to.name).ok_or_else(missing)?;
            BackendTarget::Agent(names::object(&name))
        }
    };
    Ok(Backend { target, name })
}

/// True if a link brings this service.
pub(crate) fn is_imported(reader: &Reader<'_>, namespace: &str, name: &str) -> bool {
    reader.links().any(|(link, spec)| {
        let mappings = spec.spec.import.iter().flat_map(|import| import.namespaces.iter());
        mappings.filter(|mapping| mapping.local == namespace).any(|mapping| {
            let remote = ExportedName { namespace: mapping.remote.as_str().into(), name: name.into() };
            reader.exported(&link.name, &remote).is_some()
        })
    })
}

/// True if a ReferenceGrant of the target's namespace lets objects like `from` name it.
pub(crate) fn granted(reader: &Reader<'_>, from: &Name, to: &Name) -> bool {
    reader.grants_within(&to.namespace).any(|(_, grant)| {
        let lets = grant.spec.from.iter().any(|grant| {
            grant.group == from.kind.group()
                && grant.kind == from.kind.as_str()
                && grant.namespace == from.namespace.as_str()
        });
        let names = grant.spec.to.iter().any(|grant| {
            grant.group == to.kind.group()
                && grant.kind == to.kind.as_str()
                && grant.name.as_ref().is_none_or(|name| *name == to.name.as_str())
        });
        lets && names
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_host_patterns_share_the_narrower() {
        let cases = [
            ("*.example.com", "a.example.com", Some("a.example.com")),
            ("a.example.com", "*.example.com", Some("a.example.com")),
            ("*.example.com", "*.a.example.com", Some("*.a.example.com")),
            ("*.example.com", "*.example.com", Some("*.example.com")),
            ("*.example.com", "example.com", None),
            ("a.example.com", "b.example.com", None),
            ("*.a.example.com", "b.example.com", None),
        ];
        for (a, b, expected) in cases {
            assert_eq!(narrower(a, b).as_deref(), expected, "{a} {b}");
        }
    }
}
