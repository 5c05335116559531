//! Gateways of ours: each is a workload with an identity, a Service by which it is dialled, and its listeners.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    Name, Resource as Object,
    gateway::{GatewayListener, GatewaySpec},
};
use mesh::resource::{
    Admission, Balancing, Binding, Egress, HostPattern, Labels, Listener, ListenerRole, Locality, PolicySet,
    PortMapping, Protocol, Reach, Resource, Service, ServicePort, Traffic, Workload, WorkloadPort,
};

use super::{listener, traffic};
use crate::{
    access,
    addresses::Owner,
    binding::{self, Class, Gateway, TUNNEL_PROTOCOL, is_edge},
    labels,
    made::Made,
    names,
    reader::Reader,
    sets,
    settings::TUNNEL_PORT,
    status::{ConditionKind, Conditions, Fault, Status, Truth},
    vouchers,
};

/// The listener of a waypoint that was made by itself.
const AUTO_LISTENER: &str = "mesh";

/// The waypoint that is made where something says `auto` and nobody wrote a Gateway of that name.
pub(super) fn automatic(reader: &Reader<'_>, namespace: &str) -> Made {
    let name = labels::auto_waypoint(namespace);
    let written = reader.gateway(namespace, &name.name).is_some();
    if written || !binding::auto_wanted(reader, namespace) {
        return Made::default();
    }
    let mut made = Made::default();
    let mut status = Status::default();
    let outcome = Gateway::find(reader, &name).and_then(|gateway| run(reader, &gateway, None, &mut made));
    told(reader, &name, Conditions::of(None), outcome, &mut status, &mut made);
    made.status = Some((name, status));
    made
}

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<GatewaySpec>) -> Made {
    let mut made = Made::default();
    let mut status = Status::default();
    let gateway = match Gateway::find(reader, name) {
        Ok(gateway) => gateway,
        // A class that is not ours is somebody else's to speak of.
        Err(_) => return made,
    };
    let conditions = Conditions::of(object.metadata.generation);
    let asked =
        object.spec.addresses.first().and_then(|address| address.value.as_ref()).map(|value| value.as_str());
    let outcome = run(reader, &gateway, asked, &mut made);
    told(reader, name, conditions, outcome, &mut status, &mut made);
    let listeners = listener::check(reader, &gateway);
    let invalid: Vec<&str> =
        listeners.iter().filter(|it| !it.is_valid()).map(|it| it.listener.name.as_str()).collect();
    if !invalid.is_empty() {
        tell_invalid(conditions, &invalid, invalid.len() == listeners.len(), &mut status);
    }
    if listeners.iter().any(|it| it.is_valid() && is_edge(it.listener)) {
        reachable(reader, &mut status);
    }
    status.listeners = listeners.iter().map(|it| it.told(reader, conditions, &gateway)).collect();
    made.status = Some((name.clone(), status));
    made
}

/// Some listeners serve nobody; a Gateway of which none serves is not accepted.
fn tell_invalid(conditions: Conditions, invalid: &[&str], all: bool, status: &mut Status) {
    let message = format!("these listeners serve nobody, as their conditions say: {}", invalid.join(", "));
    for condition in &mut status.conditions {
        match (condition.kind, condition.status) {
            (ConditionKind::Accepted, Truth::True) => {
                let truth = if all { Truth::False } else { Truth::True };
                *condition = conditions.make(condition.kind, truth, "ListenersNotValid", message.as_str());
            }
            (ConditionKind::Programmed, Truth::True) if all => {
                *condition = conditions.make(condition.kind, Truth::False, "Invalid", message.as_str());
            }
            _ => {}
        }
    }
}

/// Whoever comes from outside needs the address at which it listens, which on one machine is not that of the mesh.
fn reachable(reader: &Reader<'_>, status: &mut Status) {
    let mesh = status.addresses.first().and_then(|address| address.parse().ok());
    let listens = mesh.map(|address| reader.settings().tunnels.address(address).to_string());
    status.addresses.extend(listens.filter(|listens| status.addresses.first() != Some(listens)));
}

fn told(
    reader: &Reader<'_>,
    name: &Name,
    conditions: Conditions,
    outcome: Result<std::net::Ipv4Addr, Fault>,
    status: &mut Status,
    made: &mut Made,
) {
    match outcome {
        Ok(address) => {
            status.addresses.push(address.to_string());
            status.conditions.push(conditions.holds(ConditionKind::Accepted, "the Gateway is valid"));
            status.conditions.push(match reader.serving(name) {
                true => {
                    conditions.holds(ConditionKind::Programmed, "its proxy is connected and has everything")
                }
                false => conditions.make(
                    ConditionKind::Programmed,
                    Truth::False,
                    "Pending",
                    "no proxy of it is connected: start one with a token of this Gateway",
                ),
            });
        }
        Err(fault) => {
            made.resources.clear();
            status.conditions.push(conditions.fails(ConditionKind::Accepted, &fault));
            status.conditions.push(conditions.fails(ConditionKind::Programmed, &fault));
        }
    }
}

fn run(
    reader: &Reader<'_>,
    gateway: &Gateway<'_>,
    asked: Option<&str>,
    made: &mut Made,
) -> Result<std::net::Ipv4Addr, Fault> {
    let name = &gateway.name;
    if gateway.class != Class::NorthSouth && !gateway.accepts_tunnels() {
        return Err(Fault::new(
            "NoTunnelListener",
            format!("it needs a listener with protocol {TUNNEL_PROTOCOL} on port {TUNNEL_PORT}"),
        ));
    }
    let address = reader.address(&Owner::Object(name.clone()), asked)?;
    workload(reader, gateway, address, made);
    let policies = access::within(reader, &name.namespace);
    match gateway.spec {
        None => listen(reader, gateway, &policies, None, ListenerRole::Waypoint, made),
        Some(_) => {
            for checked in listener::check(reader, gateway) {
                if let Some(role) = checked.role {
                    listen(reader, gateway, &policies, Some(checked.listener), role, made);
                }
            }
        }
    }
    Ok(address)
}

/// Makes a listener and the set of its way in; None is that of an automatic waypoint.
fn listen(
    reader: &Reader<'_>,
    gateway: &Gateway<'_>,
    policies: &[access::Access<'_>],
    said: Option<&GatewayListener>,
    role: ListenerRole,
    made: &mut Made,
) {
    let name = &gateway.name;
    let labels = reader.gateway(&name.namespace, &name.name).map(|object| &object.metadata.labels);
    let own = said.map_or(AUTO_LISTENER, |listener| listener.name.as_str());
    let hostname = said.and_then(|listener| listener.hostname.as_ref());
    let set = sets::listener(reader, policies, name, labels, own);
    made.add(Resource::Listener(Arc::new(Listener {
        gateway: names::object(name),
        name: own.into(),
        port: said.map_or(TUNNEL_PORT, |listener| listener.port),
        role,
        hostname: hostname.map(|name| HostPattern(name.to_ascii_lowercase().into())),
        set: set.name.clone(),
        traffic: traffic::of_listener(reader, name, said),
    })));
    made.add(Resource::PolicySet(Arc::new(set)));
}

fn workload(reader: &Reader<'_>, gateway: &Gateway<'_>, address: std::net::Ipv4Addr, made: &mut Made) {
    let settings = reader.settings();
    let name = &gateway.name;
    // What is addressed to the gateway itself, and not to something behind it, is nobody's.
    let closed = sets::closed();
    let own_port =
        WorkloadPort { admission: Admission::Direct, vouchers: Vec::new(), set: closed.name.clone() };
    let mut services = BTreeMap::new();
    services.insert(
        names::text(&gateway.service),
        vec![PortMapping { service: TUNNEL_PORT, target: TUNNEL_PORT }],
    );
    let uid = names::uid(settings, name);
    let health = reader.health(&uid);
    made.add(Resource::Workload(Arc::new(Workload {
        uid,
        name: name.name.as_str().into(),
        namespace: name.namespace.as_str().into(),
        cluster: settings.cluster.clone(),
        network: settings.network.clone(),
        identity: gateway.identity.clone(),
        node: "".into(),
        locality: Locality::default(),
        addresses: vec![address.into()],
        reach: Reach::Tunnel(settings.tunnels.hbone(address)),
        ports: BTreeMap::new(),
        other_ports: own_port,
        services,
        capacity: 1,
        health,
        egress: Egress::Allow,
        vouchers: vouchers::to_gateway(reader, gateway).into_iter().collect(),
        labels: Labels { app: name.name.as_str().into(), version: "latest".into() },
    })));
    let set =
        PolicySet { name: format!("Gateway/{}/{}", name.namespace, name.name).into(), ..sets::closed() };
    let port = ServicePort {
        name: "hbone".into(),
        protocol: Protocol::Tcp,
        set: set.name.clone(),
        traffic: Traffic::default(),
        backend: None,
    };
    made.add(Resource::Service(Arc::new(Service {
        key: gateway.service.clone(),
        name: name.name.as_str().into(),
        aliases: names::aliases(&name.namespace, &name.name),
        addresses: Vec::new(),
        ports: BTreeMap::from([(TUNNEL_PORT, port)]),
        binding: Binding::None,
        balancing: Balancing::default(),
        exported_to: Default::default(),
        identities: vec![gateway.identity.clone()],
    })));
    made.add(Resource::PolicySet(Arc::new(closed)));
    made.add(Resource::PolicySet(Arc::new(set)));
}
