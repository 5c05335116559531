//! Services: names with addresses and ports, through which waypoint they are reached, and to whom they go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    Name, Resource as Object,
    core::{Protocol as Transport, ServicePort as SaidPort, ServiceSpec, ServiceType},
};
use mesh::resource::{Balancing, Protocol, Resource, Scope, Service, ServicePort};

use super::{export::Serving, traffic};
use crate::{
    access,
    addresses::Owner,
    attach::{self, Place},
    binding::Bound,
    exports::clusterset_hostname,
    labels, link,
    made::Made,
    names, protocol,
    reader::Reader,
    sets,
    status::{ConditionKind, Conditions, Fault, Status, Truth},
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<ServiceSpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let mut made = Made::default();
    let mut status = Status::default();
    let bound = Bound::of_service(reader, name, &object.metadata.labels);
    match run(reader, name, object, &bound, &mut made) {
        Ok(()) => {
            status.conditions.push(conditions.holds(ConditionKind::Accepted, "the Service is in the mesh"))
        }
        Err(fault) => {
            made.resources.clear();
            status.conditions.push(conditions.fails(ConditionKind::Accepted, &fault));
        }
    }
    status.conditions.extend(told(conditions, &bound));
    made.marks.extend(bound.mark().cloned());
    made.status = Some((name.clone(), status));
    made
}

/// What is said of a binding.
fn told(conditions: Conditions, bound: &Bound<'_>) -> Option<crate::status::Condition> {
    let kind = ConditionKind::WaypointBound;
    match bound {
        Bound::No => None,
        Bound::Through { gateway, .. } => {
            Some(conditions.holds(kind, format!("reached through {}", gateway.name)))
        }
        Bound::Missing { why, .. } => {
            let message = format!("{}; it was bound once, so connections are refused", why.message);
            Some(conditions.make(kind, Truth::False, why.reason, message))
        }
        Bound::Pending { why, .. } => {
            let message = format!(
                "{}; until then nothing changes, but ports with a policy on requests refuse",
                why.message
            );
            Some(conditions.make(kind, Truth::Unknown, why.reason, message))
        }
    }
}

fn run(
    reader: &Reader<'_>,
    name: &Name,
    object: &Object<ServiceSpec>,
    bound: &Bound<'_>,
    made: &mut Made,
) -> Result<(), Fault> {
    let settings = reader.settings();
    let spec = &object.spec;
    if spec.kind == ServiceType::ExternalName {
        return Err(Fault::new("NotBuiltYet", "a Service of type ExternalName is not built yet"));
    }
    let addresses = match spec.is_headless() {
        true => Vec::new(),
        false => vec![
            reader
                .address(
                    &Owner::Object(name.clone()),
                    spec.cluster_ip.as_deref().filter(|text| !text.is_empty()),
                )?
                .into(),
        ],
    };
    let policies = access::within(reader, &name.namespace);
    let routed = routed_ports(reader, name);
    let mut ports = BTreeMap::new();
    for port in spec.ports.iter().filter(|port| port.protocol == Transport::Tcp) {
        let set = sets::service_port(reader, &policies, name, &object.metadata.labels, port);
        ports.insert(
            port.port,
            ServicePort {
                name: port.name.as_ref().map_or("", |name| name.as_str()).into(),
                protocol: speaks(port, &routed),
                set: set.name.clone(),
                traffic: traffic::of_service_port(reader, name, port, bound),
                backend: None,
            },
        );
        made.add(Resource::PolicySet(Arc::new(set)));
    }
    let links = link::exporting(reader, name);
    let mut aliases = names::aliases(&name.namespace, &name.name);
    let exported = !links.is_empty();
    if exported {
        aliases.push(clusterset_hostname(&name.namespace, &name.name).into());
    }
    let identities = match bound.through() {
        _ if !exported => BTreeSet::new(),
        Some(gateway) => BTreeSet::from([gateway.identity.clone()]),
        None => Serving::of(reader, &name.namespace, name).identities,
    };
    made.add(Resource::Service(Arc::new(Service {
        key: names::service(settings, &name.namespace, &name.name),
        name: name.name.as_str().into(),
        aliases,
        addresses,
        ports,
        binding: bound.binding(),
        balancing: balancing(reader, name, object),
        exported_to: links.into_iter().map(|link| link.trust_domain).collect(),
        identities: identities.into_iter().collect(),
    })));
    Ok(())
}

/// Where endpoints of other clusters join, ours come first.
fn balancing(reader: &Reader<'_>, name: &Name, object: &Object<ServiceSpec>) -> Balancing {
    let mut balancing = Balancing::default();
    if labels::fails_over(&object.metadata.labels) {
        balancing.prefer.push(Scope::Network);
    }
    if traffic::prefers_near(reader, name) {
        balancing.prefer.extend([Scope::Region, Scope::Zone, Scope::Subzone]);
    }
    balancing
}

/// What a port speaks. A port that says nothing and to which a route is attached speaks HTTP.
fn speaks(port: &SaidPort, routed: &Routed) -> Protocol {
    let said = port.app_protocol.as_ref().map(|said| said.as_str());
    let found = protocol::of(port);
    match found == Protocol::Tcp && said.is_none() && (routed.all || routed.ports.contains(&port.port)) {
        true => Protocol::Http,
        false => found,
    }
}

/// The ports of a Service to which routes are attached.
struct Routed {
    all: bool,
    ports: BTreeSet<u16>,
}

fn routed_ports(reader: &Reader<'_>, service: &Name) -> Routed {
    let mut routed = Routed { all: false, ports: BTreeSet::new() };
    for (name, route) in reader.routes_within(&service.namespace) {
        for attached in attach::attachments(reader, name, route) {
            if let Ok(Place::Service { name, port, .. }) = attached.place
                && name == *service
            {
                match port {
                    Some(port) => {
                        routed.ports.insert(port);
                    }
                    None => routed.all = true,
                }
            }
        }
    }
    routed
}
