//! Who may say on whose behalf a connection is (DESIGN 4.1): waypoints in the way, and gateways that serve a
//! route or AgentBackend to it.

use std::collections::BTreeSet;

use api::{Kind, Name, Resource, http_route::HttpRouteSpec, object::GROUP};
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
    for (name, route) in reader.routes() {
        if references(name, route).any(|to| names(&to, thing) && attach::backend(reader, name, &to).is_ok()) {
            let places = attach::attachments(reader, name, route);
            let gateways = places.iter().filter_map(|attached| attached.place.as_ref().ok()?.gateway());
            found.extend(gateways.map(|gateway| gateway.identity.clone()));
        }
    }
    if thing.kind == Kind::Service {
        for (name, backend) in reader.backends() {
            let servers = backend.spec.mcp.iter().flat_map(|mcp| mcp.servers.iter());
            let mut refs = servers.filter_map(|server| server.service_ref.as_ref());
            let leads = refs.any(|to| {
                let to = BackendReference {
                    group: "",
                    kind: "Service",
                    namespace: to.namespace.as_ref().map_or(&name.namespace, |namespace| namespace.as_str()),
                    name: to.name.as_str(),
                    port: Some(to.port),
                };
                names(&to, thing) && attach::backend(reader, name, &to).is_ok()
            });
            if leads && let Ok(gateway) = crate::compute::backend::gateway(reader, name, &backend.spec) {
                found.insert(gateway.identity);
            }
        }
    }
    found
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

fn names(to: &BackendReference<'_>, thing: &Name) -> bool {
    let kind = match (to.group, to.kind) {
        ("", "Service") => Kind::Service,
        (GROUP, "AgentBackend") => Kind::AgentBackend,
        _ => return false,
    };
    kind == thing.kind && to.namespace == thing.namespace && to.name == thing.name
}
