//! Who may say on whose behalf a connection is (DESIGN 4.1): waypoints in the way, and gateways that serve a
//! route or AgentBackend to it.

use std::collections::BTreeSet;

use api::{Name, Object};
use mesh::identity::Identity;

use crate::{
    attach, backing,
    binding::{Bound, Gateway},
    link,
    reader::Reader,
    references::{self, BackendReference},
};

/// The gateways that a request to a thing can come through, besides its own waypoint.
pub(crate) fn gateways_to(reader: &Reader<'_>, thing: &Name) -> BTreeSet<Identity> {
    let mut found = BTreeSet::new();
    let leads = |name: &Name, to: &BackendReference<'_>| {
        to.thing().as_ref() == Some(thing) && attach::backend(reader, name, to).is_ok()
    };
    for (name, object) in reader.leading_to(thing) {
        match object {
            Object::HttpRoute(route) if references::of_route(name, route).any(|to| leads(name, &to)) => {
                let places = attach::attachments(reader, name, route);
                let gateways = places.iter().filter_map(|attached| attached.place.as_ref().ok()?.voucher());
                found.extend(gateways.map(|gateway| gateway.identity.clone()));
            }
            Object::AgentBackend(backend)
                if references::of_backend(name, &backend.spec).any(|to| leads(name, &to)) =>
            {
                let gateway = backing::gateway(reader, name, &backend.spec);
                found.extend(gateway.ok().map(|gateway| gateway.identity));
            }
            _ => {}
        }
    }
    found
}

/// The waypoints of other trust domains whose word is taken at what is exported to them.
pub(crate) fn of_links(reader: &Reader<'_>, service: &Name) -> BTreeSet<Identity> {
    let links = link::exporting(reader, service);
    links.iter().flat_map(|link| link::vouchers(reader, &link.trust_domain)).collect()
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
        let serves = backing::gateway(reader, name, &backend.spec);
        if serves.is_ok_and(|serves| serves.name == gateway.name) {
            found.extend(gateways_to(reader, name));
        }
    }
    found.remove(&gateway.identity);
    found
}
