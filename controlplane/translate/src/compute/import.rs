//! Services that come over links: each a Service under its clusterset name, and for every link one workload that
//! stands for all that serve it there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{Kind, Name, Object, core::Protocol as Transport};
use mesh::{
    identity::Identity,
    resource::{
        Admission, Balancing, Binding, DefaultAccess, Egress, Health, Labels, Locality, PolicySet,
        PortMapping, Reach, Resource, Scope, Service, ServicePort, Stage, StageKind, Traffic, Workload,
        WorkloadPort,
    },
};

use crate::{
    access::{self, Part},
    addresses::Owner,
    exports::{ExportedName, ExportedService, clusterset_hostname},
    labels,
    link::{self, Link},
    made::{Computation, Made},
    names,
    reader::Reader,
    sets,
    world::World,
};

/// The imports that a link can bring, as it is written now.
pub(crate) fn of_link(world: &World, link: &str) -> BTreeSet<Computation> {
    let exports = world.exports.get(link).into_iter().flat_map(|table| table.keys());
    exports.flat_map(|name| of_export(world, link, name)).collect()
}

/// The imports that one exported service can become.
pub(crate) fn of_export(world: &World, link: &str, name: &ExportedName) -> BTreeSet<Computation> {
    let link =
        world.admitted.get(&Name::new(Kind::ClusterLink, "", link)).and_then(|admitted| admitted.object());
    let Some(Object::ClusterLink(link)) = link.map(Arc::as_ref) else { return BTreeSet::new() };
    let mappings = link.spec.import.iter().flat_map(|import| import.namespaces.iter());
    let local =
        mappings.filter(|mapping| mapping.remote == *name.namespace).map(|mapping| mapping.local.as_str());
    local.map(|local| Computation::Import(local.into(), name.name.clone())).collect()
}

/// A service as one link brings it.
struct Remote<'w> {
    link: Link<'w>,
    export: &'w Arc<ExportedService>,
    served_by: Vec<Identity>,
    /// Our waypoints whose word about callers is taken there.
    vouchers: Vec<Identity>,
}

fn remotes<'w>(reader: &Reader<'w>, namespace: &str, name: &str) -> Vec<Remote<'w>> {
    let mut found = Vec::new();
    for link in link::all(reader) {
        let mappings = link.spec.import.iter().flat_map(|import| import.namespaces.iter());
        for mapping in mappings.filter(|mapping| mapping.local == namespace) {
            let remote = ExportedName { namespace: mapping.remote.as_str().into(), name: name.into() };
            if let Some(export) = reader.exported(&link.name.name, &remote) {
                // Whoever it names, only identities of the link's own trust domain count.
                let mut served_by = export.served_by.identities().to_vec();
                served_by.retain(|identity| *identity.trust_domain() == link.trust_domain);
                let mut vouchers = export.vouchers.clone();
                vouchers.retain(|identity| *identity.trust_domain() == reader.settings().trust_domain);
                found.push(Remote { link: link.clone(), export, served_by, vouchers });
            }
        }
    }
    found
}

/// How many services a link brings.
pub(crate) fn count(reader: &Reader<'_>, link: &Link<'_>) -> u64 {
    let mappings = link.spec.import.iter().flat_map(|import| import.namespaces.iter());
    let remote: BTreeSet<&str> = mappings.map(|mapping| mapping.remote.as_str()).collect();
    reader.exports_of(&link.name.name).filter(|export| remote.contains(&*export.namespace)).count() as u64
}

pub(crate) fn compute(reader: &Reader<'_>, namespace: &Arc<str>, name: &Arc<str>) -> Made {
    let mut made = Made::default();
    let remotes = remotes(reader, namespace, name);
    if remotes.is_empty() {
        return made;
    }
    let local = reader.service(namespace, name);
    let exported_here = local.is_some() && reader.export(namespace, name).is_some();
    let joins = local.filter(|service| labels::fails_over(&service.metadata.labels));
    let key = names::import(namespace, name);
    // A Service of ours that is exported too has the clusterset name for itself.
    if !exported_here {
        service(reader, namespace, name, &remotes, &mut made);
    }
    for remote in &remotes {
        let mut services = BTreeMap::new();
        if !exported_here {
            let ports = remote.export.ports.keys().map(|port| PortMapping { service: *port, target: *port });
            services.insert(names::text(&key), ports.collect::<Vec<_>>());
        }
        if let Some(local) = joins {
            let own =
                local.spec.ports.iter().filter(|port| port.protocol == Transport::Tcp).map(|port| port.port);
            let shared = own.filter(|port| remote.export.ports.contains_key(port));
            let ports = shared.map(|port| PortMapping { service: port, target: port }).collect();
            services.insert(names::text(&names::service(reader.settings(), namespace, name)), ports);
        }
        workload(reader, namespace, name, remote, services, &mut made);
    }
    made
}

fn service(
    reader: &Reader<'_>,
    namespace: &Arc<str>,
    name: &Arc<str>,
    remotes: &[Remote<'_>],
    made: &mut Made,
) {
    let owner = Owner::Import { namespace: namespace.clone(), name: name.clone() };
    let Ok(address) = reader.address(&owner, None) else { return };
    let policies = access::within(reader, namespace);
    let mut ports = BTreeMap::new();
    for remote in remotes {
        for (number, port) in &remote.export.ports {
            if ports.contains_key(number) {
                continue;
            }
            // What is done with it is judged where it is served; here, what the platform and the namespace say.
            let mut stages: Vec<Stage> =
                access::platform(reader, namespace, &[api::access::ClusterTargetKind::Namespace]);
            let parts = [Part::whole(Kind::Namespace, namespace, None)];
            stages.extend(access::stage(StageKind::Target, &policies, &parts));
            let set = PolicySet {
                guards: Vec::new(),
                quotas: Vec::new(),
                name: format!("ServiceImport/{namespace}/{name}:{number}").into(),
                stages,
                default_access: DefaultAccess::Open,
            };
            let port = ServicePort {
                name: port.name.clone(),
                protocol: port.protocol,
                set: set.name.clone(),
                traffic: Traffic::default(),
                backend: None,
            };
            made.add(Resource::PolicySet(Arc::new(set)));
            ports.insert(*number, port);
        }
    }
    let identities: BTreeSet<Identity> =
        remotes.iter().flat_map(|remote| remote.served_by.iter().cloned()).collect();
    made.add(Resource::Service(Arc::new(Service {
        key: names::import(namespace, name),
        name: name.clone(),
        aliases: Vec::new(),
        addresses: vec![address.into()],
        ports,
        binding: Binding::None,
        balancing: Balancing { prefer: vec![Scope::Network], strict: false },
        exported_to: BTreeSet::new(),
        identities: identities.into_iter().collect(),
    })));
}

fn workload(
    reader: &Reader<'_>,
    namespace: &Arc<str>,
    name: &Arc<str>,
    remote: &Remote<'_>,
    services: BTreeMap<Arc<str>, Vec<PortMapping>>,
    made: &mut Made,
) {
    let link = &remote.link;
    let closed = sets::closed();
    let uid = names::import_uid(&link.name.name, namespace, name);
    // Whoever serves it; where nobody is named, its control plane stands for it and nobody can be reached.
    let identity = remote.served_by.first().unwrap_or(&link.reader).clone();
    let reachable = remote.export.healthy && !remote.served_by.is_empty() && !link.gateways.is_empty();
    let health = match reachable && reader.health(&uid) == Health::Healthy {
        true => Health::Healthy,
        false => Health::Unhealthy,
    };
    made.add(Resource::Workload(Arc::new(Workload {
        uid,
        name: name.clone(),
        namespace: namespace.clone(),
        cluster: link.name.name.as_str().into(),
        network: link.name.name.as_str().into(),
        identity,
        node: "".into(),
        locality: Locality::default(),
        addresses: Vec::new(),
        reach: Reach::Gateway {
            gateways: link.gateways.clone(),
            authority: clusterset_hostname(&remote.export.name.namespace, &remote.export.name.name).into(),
            peers: remote.served_by.clone(),
        },
        ports: BTreeMap::new(),
        other_ports: WorkloadPort {
            admission: Admission::Direct,
            vouchers: Vec::new(),
            set: closed.name.clone(),
        },
        services,
        capacity: remote.export.capacity.max(1),
        health,
        egress: Egress::Deny,
        vouchers: remote.vouchers.clone(),
        labels: Labels { app: name.clone(), version: "latest".into() },
    })));
    made.add(Resource::PolicySet(Arc::new(closed)));
}
