//! Who may say on whose behalf a connection is (DESIGN 4.1): waypoints in the way, and gateways that serve a
//! route or AgentBackend to it.

use std::collections::BTreeSet;

use api::{Name, Object, Resource, backend::AgentBackendSpec, http_route::HttpRouteSpec};
use mesh::identity::Identity;

use crate::{
    attach::{self, BackendReference},
    binding::{Bound, Gateway},
    compute::link,
    reader::Reader,
};

/// The gateways that a request to a thing can come through, besides its own waypoint.
pub(crate) fn gateways_to(reader: &Reader<'_>, thing: &Name) -> BTreeSet<Identity> {
    let mut found = BTreeSet::new();
    let leads = |name: &Name, to: &BackendReference<'_>| {
        to.thing().as_ref() == Some(thing) && attach::backend(reader, name, to).is_ok()
    };
    for (name, object) in reader.leading_to(thing) {
        match object {
            Object::HttpRoute(route) if references(name, route).any(|to| leads(name, &to)) => {
                let places = attach::attachments(reader, name, route);
                let gateways = places.iter().filter_map(|attached| attached.place.as_ref().ok()?.gateway());
                found.extend(gateways.map(|gateway| gateway.identity.clone()));
            }
            Object::AgentBackend(backend) if servers(name, &backend.spec).any(|to| leads(name, &to)) => {
                let gateway = crate::compute::backend::gateway(reader, name, &backend.spec);
                found.extend(gateway.ok().map(|gateway| gateway.identity));
            }
            _ => {}
        }
    }
    found
}

/// The Services behind an AgentBackend.
pub(crate) fn servers<'w>(
    name: &'w Name,
    backend: &'w AgentBackendSpec,
) -> impl Iterator<Item = BackendReference<'w>> {
    let servers = backend.mcp.iter().flat_map(|mcp| mcp.servers.iter());
    servers.filter_map(|server| server.service_ref.as_ref()).map(|to| BackendReference {
        group: "",
        kind: "Service",
        namespace: to.namespace.as_ref().map_or(&name.namespace, |namespace| namespace.as_str()),
        name: to.name.as_str(),
        port: Some(to.port),
    })
}

/// The waypoints of other trust domains whose word is taken at what is exported to them.
pub(crate) fn of_links(reader: &Reader<'_>, service: &Name) -> BTreeSet<Identity> {
    let links = link::exporting(reader, service);
    links.into_iter().flat_map(|link| link.vouchers).collect()
}

/// Who may speak for others to a Gateway: whoever leads to something that is reached through it.
pub(crate) fn to_gateway(reader: &Reader<'_>, gateway: &Gateway<'_>) -> BTreeSet<Identity> {
    let mut found = BTreeSet::new();
    for (name, service) in reader.services() {
        let bound = Bound::of_service(reader, name, &service.metadata.labels);
        if bound.through().is_some_and(|through| through.name == gateway.name) {
            found.extend(gateways_to(reader, name));
            found.extend(of_links(reader, name));
        }
    }
    for (name, backend) in reader.backends() {
        let serves = crate::compute::backend::gateway(reader, name, &backend.spec);
        if serves.is_ok_and(|serves| serves.name == gateway.name) {
            found.extend(gateways_to(reader, name));
        }
    }
    found.remove(&gateway.identity);
    found
}

/// Every backend that a route names.
pub(crate) fn references<'w>(
    name: &'w Name,
    route: &'w Resource<HttpRouteSpec>,
) -> impl Iterator<Item = BackendReference<'w>> {
    let rules = route.spec.rules.iter();
    rules.flat_map(move |rule| {
        let filters =
            rule.filters.iter().chain(rule.backend_refs.iter().flat_map(|backend| backend.filters.iter()));
        let mirrors = filters.filter_map(|filter| filter.request_mirror.as_ref()).map(|mirror| {
            let to = &mirror.backend_ref;
            (to.group.as_str(), to.kind.as_str(), to.namespace.as_ref(), to.name.as_str(), to.port)
        });
        let backends = rule.backend_refs.iter().map(|to| {
            (to.group.as_str(), to.kind.as_str(), to.namespace.as_ref(), to.name.as_str(), to.port)
        });
        backends.chain(mirrors).map(move |(group, kind, namespace, to, port)| BackendReference {
            group,
            kind,
            namespace: namespace.map_or(name.namespace.as_str(), |namespace| namespace.as_str()),
            name: to,
            port,
        })
    })
}
