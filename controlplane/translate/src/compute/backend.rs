//! AgentBackends: a name to dial, the Gateway that serves it, and what stands behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{Name, Resource as Object, backend::AgentBackendSpec};
use mesh::{
    names::{Hostname, ObjectName, ServiceKey, SetName},
    resource::{Backend, Balancing, Binding, Protocol, Resource, Service, ServicePort, Traffic},
};

use super::{
    backend_kind::{self, Behind},
    traffic,
};
use crate::{
    access,
    addresses::Owner,
    backing,
    binding::Gateway,
    made::Made,
    names::{self, created},
    reader::Reader,
    references, sets,
    status::{self, ConditionKind, Conditions, Fault, Status},
};

/// The port on which a backend's name is dialled.
const PORT: u16 = 80;

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<AgentBackendSpec>) -> Made {
    let found = Found::of(reader, name, &object.spec);
    let policies = access::within(reader, &name.namespace);
    let servers = backing::servers(&object.spec).map(str::to_owned).collect();
    let set = sets::backend(reader, &policies, name, &object.metadata.labels, servers);
    let traffic = traffic::of_backend(reader, name, found.gateway.as_ref().ok());
    let status = found.told(reader, Conditions::of(object.metadata.generation), &object.spec);

    let mut made = Made { status: Some((name.clone(), status)), ..Made::default() };
    if let Some(service) = found.service(name, &object.spec, &set.name, &traffic) {
        made.add(Resource::Service(Arc::new(service)));
    }
    let broken = found.broken();
    made.add(Resource::Backend(Arc::new(Backend {
        name: names::object(name),
        hostnames: if found.rival.is_none() { hostnames(&object.spec) } else { Vec::new() },
        kind: found.behind.kind,
        set: set.name.clone(),
        traffic,
        catalogue: found.catalogue.ok().flatten(),
        broken: broken.map(|fault| fault.message.into()),
    })));
    made.add(Resource::PolicySet(Arc::new(set)));
    made
}

fn hostnames(spec: &AgentBackendSpec) -> Vec<Hostname> {
    spec.hostnames.iter().map(|hostname| hostname.to_ascii_lowercase().into()).collect()
}

/// What was found of all that a backend needs.
struct Found<'w> {
    rival: Option<Fault>,
    gateway: Result<Gateway<'w>, Fault>,
    address: Result<std::net::Ipv4Addr, Fault>,
    behind: Behind,
    catalogue: Result<Option<ObjectName>, Fault>,
}

impl<'w> Found<'w> {
    fn of(reader: &Reader<'w>, name: &Name, spec: &AgentBackendSpec) -> Self {
        Self {
            rival: hostname_conflict(reader, name, spec),
            gateway: backing::gateway(reader, name, spec),
            address: reader.address(&Owner::Object(name.clone()), None),
            behind: backend_kind::resolve(reader, name, spec),
            catalogue: catalogue(reader, name, spec),
        }
    }

    /// Why nobody can reach it.
    fn unaccepted(&self) -> Option<Fault> {
        let unserved = self.gateway.as_ref().err().cloned();
        status::first([self.rival.clone(), unserved, self.address.as_ref().err().cloned()])
    }

    /// What it names and is not there.
    fn unresolved(&self) -> Option<Fault> {
        let missing = self.catalogue.as_ref().err();
        let faults: Vec<&Fault> = missing.into_iter().chain(&self.behind.faults).collect();
        let all: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        faults.first().map(|first| Fault::new(first.reason, all.join("; ")))
    }

    /// Why it answers nothing. Without its catalogue nobody knows which tools were approved.
    fn broken(&self) -> Option<Fault> {
        let gone = if self.behind.gone { self.unresolved() } else { None };
        status::first([self.unaccepted(), self.catalogue.as_ref().err().cloned(), gone])
    }

    /// The Service by whose names it is dialled.
    fn service(
        &self,
        name: &Name,
        spec: &AgentBackendSpec,
        set: &SetName,
        traffic: &Traffic,
    ) -> Option<Service> {
        let names = hostnames(spec);
        let (Ok(address), Some((first, further))) = (&self.address, names.split_first()) else { return None };
        if self.rival.is_some() {
            return None;
        }
        let binding = match &self.gateway {
            Ok(gateway) => Binding::Through(gateway.service.clone()),
            // There never was another way to it.
            Err(fault) => Binding::Missing(fault.message.as_str().into()),
        };
        let protocol = backing::speaks(spec).0;
        let port = ServicePort {
            name: port_name(protocol).into(),
            protocol,
            set: set.clone(),
            traffic: traffic.clone(),
            backend: Some(names::object(name)),
        };
        Some(Service {
            key: ServiceKey { namespace: name.namespace.as_str().into(), hostname: first.clone() },
            name: name.name.as_str().into(),
            aliases: further.to_vec(),
            addresses: vec![(*address).into()],
            ports: BTreeMap::from([(PORT, port)]),
            binding,
            balancing: Balancing::default(),
            exported_to: BTreeSet::new(),
            identities: Vec::new(),
        })
    }

    fn told(&self, reader: &Reader<'_>, conditions: Conditions, spec: &AgentBackendSpec) -> Status {
        let gateway = self.gateway.as_ref().ok();
        let silent = gateway.filter(|gateway| !reader.serving(&gateway.name)).map(|gateway| {
            Fault::new("GatewayNotServing", format!("no proxy of {} is connected", gateway.name))
        });
        let (accepted, unresolved) = (self.unaccepted(), self.unresolved());
        let programmed = status::first([self.broken(), silent]);
        Status {
            conditions: vec![
                conditions.judge(ConditionKind::Accepted, accepted.as_ref(), "the backend is served"),
                conditions.judge(
                    ConditionKind::ResolvedRefs,
                    unresolved.as_ref(),
                    "everything it names is there",
                ),
                conditions.judge(
                    ConditionKind::Programmed,
                    programmed.as_ref(),
                    "sent to the Gateway that serves it",
                ),
            ],
            kind: Some(backing::speaks(spec).1.into()),
            served_by: gateway.map(|gateway| format!("{}/{}", gateway.name.namespace, gateway.name.name)),
            addresses: self.address.iter().map(ToString::to_string).collect(),
            ..Status::default()
        }
    }
}

/// The name of the port of a backend that speaks a protocol.
fn port_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Mcp => "mcp",
        Protocol::A2a => "a2a",
        Protocol::Llm => "llm",
        Protocol::Http | Protocol::Http2 | Protocol::Tcp => "http",
    }
}

fn catalogue(reader: &Reader<'_>, name: &Name, spec: &AgentBackendSpec) -> Result<Option<ObjectName>, Fault> {
    let Some(catalogue) = references::catalogue_of_backend(name, spec) else { return Ok(None) };
    match reader.catalogue(&catalogue.namespace, &catalogue.name) {
        Some(_) => Ok(Some(names::object(&catalogue))),
        None => Err(Fault::new(
            "CatalogNotFound",
            format!("there is no {catalogue}, so nobody knows which tools were approved: make it"),
        )),
    }
}

/// Of two backends with one name, the older has it.
fn hostname_conflict(reader: &Reader<'_>, name: &Name, spec: &AgentBackendSpec) -> Option<Fault> {
    let age = |name: &Name| reader.object(name).map(created);
    let own = (age(name), name);
    for (other, backend) in reader.backends() {
        if (age(other), other) < own
            && let Some(shared) =
                backend.spec.hostnames.iter().find(|theirs| spec.hostnames.iter().any(|ours| ours == *theirs))
        {
            return Some(Fault::new(
                "HostnameConflict",
                format!("{shared} is the name of {other}: take another"),
            ));
        }
    }
    None
}
