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

use crate::{
    access,
    addresses::Owner,
    attach::{self, Place},
    binding::{self, Class, Gateway, TUNNEL_PROTOCOL},
    labels,
    made::Made,
    names,
    reader::Reader,
    sets,
    settings::TUNNEL_PORT,
    status::{ConditionKind, Conditions, Fault, ListenerStatus, Status, Truth},
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
    for listener in &object.spec.listeners {
        status.listeners.push(listener_status(reader, conditions, &gateway, listener));
    }
    made.status = Some((name.clone(), status));
    made
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
    let labels = reader.gateway(&name.namespace, &name.name).map(|object| &object.metadata.labels);
    let mut listen = |listener: &str, port: u16, role: ListenerRole, hostname: Option<HostPattern>| {
        let set = sets::listener(&policies, name, labels, listener);
        made.add(Resource::Listener(Arc::new(Listener {
            gateway: names::object(name),
            name: listener.into(),
            port,
            role,
            hostname,
            set: set.name.clone(),
        })));
        made.add(Resource::PolicySet(Arc::new(set)));
    };
    match gateway.spec {
        None => listen(AUTO_LISTENER, TUNNEL_PORT, ListenerRole::Waypoint, None),
        Some(spec) => {
            for listener in &spec.listeners {
                if let Ok(role) = role(gateway, listener) {
                    let hostname =
                        listener.hostname.as_ref().map(|name| HostPattern(name.to_ascii_lowercase().into()));
                    listen(listener.name.as_str(), listener.port, role, hostname);
                }
            }
        }
    }
    Ok(address)
}

fn role(gateway: &Gateway<'_>, listener: &GatewayListener) -> Result<ListenerRole, Fault> {
    let refuse = |message: String| Err(Fault::new("UnsupportedProtocol", message));
    if listener.tls.is_some() {
        return refuse("TLS at a listener is not built yet".to_owned());
    }
    match (gateway.class, listener.protocol.as_str()) {
        (Class::EastWest, TUNNEL_PROTOCOL) => Ok(ListenerRole::EastWest),
        (Class::Waypoint | Class::NorthSouth, TUNNEL_PROTOCOL) => Ok(ListenerRole::Waypoint),
        (Class::NorthSouth, other) => {
            refuse(format!("protocol {other} is not built yet at the edge: {TUNNEL_PROTOCOL} is"))
        }
        (_, other) => refuse(format!("protocol {other} has no meaning here: {TUNNEL_PROTOCOL} has")),
    }
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

fn listener_status(
    reader: &Reader<'_>,
    conditions: Conditions,
    gateway: &Gateway<'_>,
    listener: &GatewayListener,
) -> ListenerStatus {
    let fault = role(gateway, listener).err();
    let attached = reader.routes().filter(|(name, route)| {
        attach::attachments(reader, name, route).iter().any(|attached| match &attached.place {
            Ok(Place::Listeners { gateway: at, listeners, .. }) => {
                at.name == gateway.name && listeners.iter().any(|own| own.name == listener.name)
            }
            _ => false,
        })
    });
    ListenerStatus {
        name: listener.name.as_str().to_owned(),
        attached_routes: u32::try_from(attached.count()).unwrap_or(u32::MAX),
        conditions: vec![
            conditions.judge(ConditionKind::Accepted, fault.as_ref(), "the listener is valid"),
            conditions.holds(ConditionKind::ResolvedRefs, "it names nothing"),
            conditions.judge(ConditionKind::Programmed, fault.as_ref(), "sent to the Gateway's proxies"),
        ],
    }
}
