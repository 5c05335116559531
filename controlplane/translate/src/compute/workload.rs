//! MeshWorkloads: what runs where, under which identity, what its ports admit, and how its node delivers to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{
    Name, Resource as Object,
    workload::{Delivery as SaidDelivery, MeshWorkloadSpec},
};
use mesh::{
    identity::Identity,
    names::ServiceKey,
    resource::{
        Admission, Delivery, ExplicitProxy, Labels, Locality, Placement, PolicySet, PortMapping, Reach,
        Resource, Workload, WorkloadPort,
    },
};

use super::traffic;
use crate::{
    access::{self, Access},
    addresses::Owner,
    binding::{Bound, Gateway},
    content, labels,
    made::Made,
    names,
    ports::{self, Serves},
    reader::Reader,
    sets,
    status::{ConditionKind, Conditions, Fault, Status},
    vouchers,
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<MeshWorkloadSpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let mut made = Made::default();
    let mut status = Status::default();
    match run(reader, name, object, &mut made) {
        Ok(address) => {
            status.addresses.push(address.to_string());
            status.conditions.push(conditions.holds(ConditionKind::Accepted, "the workload is in the mesh"));
            status.conditions.push(
                conditions.holds(ConditionKind::Programmed, format!("told to node {}", object.spec.node)),
            );
        }
        Err(fault) => {
            made.resources.clear();
            status.conditions.push(conditions.fails(ConditionKind::Accepted, &fault));
            status.conditions.push(conditions.fails(ConditionKind::Programmed, &fault));
        }
    }
    made.status = Some((name.clone(), status));
    made
}

fn run(
    reader: &Reader<'_>,
    name: &Name,
    object: &Object<MeshWorkloadSpec>,
    made: &mut Made,
) -> Result<std::net::Ipv4Addr, Fault> {
    let settings = reader.settings();
    let spec = &object.spec;
    let account = spec.service_account.as_str();
    let identity = names::identity(settings, &name.namespace, account)?;
    unlike_a_gateway(reader, &name.namespace, account)?;
    let asked = spec.addresses.first().map(|address| address.as_str());
    let address = reader.address(&Owner::Object(name.clone()), asked)?;
    let uid = names::uid(settings, name);

    let selected = reader.services_selecting(&name.namespace, &object.metadata.labels);
    let serving: Vec<Serves<'_>> =
        selected.into_iter().map(|(name, service)| ports::serves(name, service, spec)).collect();
    let judge = Judged::of(reader, name, object, &serving);
    let mut workload_ports = BTreeMap::new();
    for port in &spec.ports {
        workload_ports.insert(port.port, judge.port(reader, port.port, made));
    }
    // A process has the ports that it says; nobody may reach for another.
    let closed = sets::closed();
    let other_ports =
        WorkloadPort { admission: Admission::Direct, vouchers: Vec::new(), set: closed.name.clone() };
    made.add(Resource::PolicySet(Arc::new(closed)));
    made.marks.extend(judge.marks());

    made.add(Resource::Workload(Arc::new(Workload {
        uid: uid.clone(),
        name: name.name.as_str().into(),
        namespace: name.namespace.as_str().into(),
        cluster: settings.cluster.clone(),
        network: settings.network.clone(),
        identity,
        node: spec.node.as_str().into(),
        locality: Locality::default(),
        addresses: vec![address.into()],
        reach: Reach::Tunnel(settings.tunnels.hbone(address)),
        ports: workload_ports,
        other_ports,
        services: services(reader, &serving),
        capacity: 1,
        health: reader.health(&uid),
        egress: labels::egress(reader.namespace_labels(&name.namespace), &object.metadata.labels),
        vouchers: Vec::new(),
        labels: metric_labels(&object.metadata.labels, &name.name),
    })));
    made.add(Resource::Placement(Arc::new(Placement {
        workload: uid,
        delivery: spec.delivery.as_ref().map_or(Delivery::None, delivery),
        port_deliveries: spec
            .ports
            .iter()
            .filter_map(|port| Some((port.port, delivery(port.delivery.as_ref()?))))
            .collect(),
        proxy: reader.token(name).map(|token| ExplicitProxy {
            listen: settings.tunnels.proxy(address),
            token_sha256: token.clone(),
            uid: spec.uid,
        }),
    })));
    Ok(address)
}

/// Whoever runs under a Gateway's account could speak for others.
fn unlike_a_gateway(reader: &Reader<'_>, namespace: &str, account: &str) -> Result<(), Fault> {
    let gateway = Name::new(api::Kind::Gateway, namespace, account);
    match Gateway::find(reader, &gateway) {
        Ok(_) => Err(Fault::new(
            "ServiceAccountOfGateway",
            format!(
                "{account} is the service account of {gateway}, under which no workload may run: take another"
            ),
        )),
        Err(_) => Ok(()),
    }
}

fn services(reader: &Reader<'_>, serving: &[Serves<'_>]) -> BTreeMap<Arc<str>, Vec<PortMapping>> {
    let served = serving.iter().filter(|serves| !serves.ports.is_empty());
    let entry = |serves: &Serves<'_>| {
        let key = names::service(reader.settings(), &serves.name.namespace, &serves.name.name);
        let ports =
            serves.ports.iter().map(|(service, target)| PortMapping { service: *service, target: *target });
        (names::text(&key), ports.collect())
    };
    served.map(entry).collect()
}

fn delivery(said: &SaidDelivery) -> Delivery {
    match (&said.unix, said.loopback_port) {
        (Some(path), _) => Delivery::Unix(path.as_str().into()),
        (None, Some(port)) => Delivery::LoopbackPort(port),
        (None, None) => Delivery::None,
    }
}

/// Labels that metrics name.
pub(super) fn metric_labels(labels: &api::bounded::Texts, name: &str) -> Labels {
    let said = |keys: [&str; 2], default: &str| -> Arc<str> {
        keys.iter().find_map(|key| labels.text(key)).unwrap_or(default).into()
    };
    Labels {
        app: said(["app.kubernetes.io/name", "app"], name),
        version: said(["app.kubernetes.io/version", "version"], "latest"),
    }
}

/// What decides on a workload's ports.
struct Judged<'a, 'w> {
    name: &'a Name,
    object: &'a Object<MeshWorkloadSpec>,
    policies: Vec<Access<'w>>,
    /// The binding of the workload itself, on all ports.
    whole: Bound<'w>,
    serving: Vec<(&'a Serves<'w>, Bound<'w>)>,
}

impl<'a, 'w> Judged<'a, 'w> {
    fn of(
        reader: &Reader<'w>,
        name: &'a Name,
        object: &'a Object<MeshWorkloadSpec>,
        serving: &'a [Serves<'w>],
    ) -> Self {
        let bound = |serves: &'a Serves<'w>| {
            (serves, Bound::of_service(reader, serves.name, &serves.service.metadata.labels))
        };
        Self {
            name,
            object,
            policies: access::within(reader, &name.namespace),
            whole: Bound::of_workload(reader, name, &object.metadata.labels),
            serving: serving.iter().map(bound).collect(),
        }
    }

    fn marks(&self) -> impl Iterator<Item = crate::world::Mark> {
        let bounds = self.serving.iter().map(|(_, bound)| bound).chain([&self.whole]);
        bounds.filter_map(|bound| bound.mark().cloned()).collect::<Vec<_>>().into_iter()
    }

    fn port(&self, reader: &Reader<'w>, port: u16, made: &mut Made) -> WorkloadPort {
        let leading: Vec<&(&Serves<'w>, Bound<'w>)> = self
            .serving
            .iter()
            .filter(|(serves, _)| serves.ports.values().any(|target| *target == port))
            .collect();
        let set = self.set(reader, port, &leading);
        let bounds: Vec<&Bound<'w>> = leading.iter().map(|(_, bound)| bound).chain([&self.whole]).collect();
        let admission = self.admission(reader, &bounds, port, &leading);
        let vouchers = self.vouchers(reader, &bounds, &leading);
        let name = set.name.clone();
        made.add(Resource::PolicySet(Arc::new(set)));
        WorkloadPort { admission, vouchers, set: name }
    }

    fn set(&self, reader: &Reader<'w>, port: u16, leading: &[&(&Serves<'w>, Bound<'w>)]) -> PolicySet {
        let account = self.object.spec.service_account.as_str();
        let account_labels =
            reader.service_account(&self.name.namespace, account).map(|found| &found.metadata.labels);
        let serving: Vec<(&Serves<'w>, u16)> = leading.iter().map(|(serves, _)| (*serves, port)).collect();
        sets::workload_port(
            reader,
            &self.policies,
            self.name,
            (account, account_labels),
            &self.object.metadata.labels,
            &serving,
        )
    }

    /// `Through` if anything that leads here is bound; nobody, while a policy that reads requests waits for its
    /// waypoint.
    fn admission(
        &self,
        reader: &Reader<'w>,
        bounds: &[&Bound<'w>],
        port: u16,
        leading: &[&(&Serves<'w>, Bound<'w>)],
    ) -> Admission {
        let bound: Vec<&&Bound<'w>> = bounds
            .iter()
            .filter(|bound| matches!(bound, Bound::Through { .. } | Bound::Missing { .. }))
            .collect();
        let waypoints: BTreeSet<Identity> =
            bound.iter().filter_map(|bound| Some(bound.through()?.identity.clone())).collect();
        let dial: Option<ServiceKey> = bound.iter().find_map(|bound| Some(bound.through()?.service.clone()));
        if !bound.is_empty() {
            return Admission::Through { waypoints: waypoints.into_iter().collect(), dial };
        }
        let pending = bounds.iter().any(|bound| matches!(bound, Bound::Pending { .. }));
        let refuses = (pending && self.reads_requests(reader, port, leading))
            || self.reads_content(reader, port, leading);
        match refuses {
            true => Admission::Through { waypoints: Vec::new(), dial: None },
            false => Admission::Direct,
        }
    }

    fn reads_requests(&self, reader: &Reader<'w>, port: u16, leading: &[&(&Serves<'w>, Bound<'w>)]) -> bool {
        let account = self.object.spec.service_account.as_str();
        let account_labels =
            reader.service_account(&self.name.namespace, account).map(|found| &found.metadata.labels);
        let serving: Vec<(&Serves<'w>, u16)> = leading.iter().map(|(serves, _)| (*serves, port)).collect();
        let (parts, kinds) =
            sets::parts_of_workload_port(&self.name.namespace, (account, account_labels), &serving);
        access::platform_reads_requests(reader, &self.name.namespace, &kinds)
            || self
                .policies
                .iter()
                .filter(|policy| policy.reads_requests())
                .any(|policy| parts.iter().any(|part| policy.targets(part)))
    }

    /// True if a guard, a quota or the authentication of users speaks of a Service that leads here: a node reads no
    /// requests, and nobody may come past who does.
    fn reads_content(&self, reader: &Reader<'w>, port: u16, leading: &[&(&Serves<'w>, Bound<'w>)]) -> bool {
        if leading.is_empty() {
            return false;
        }
        let account = self.object.spec.service_account.as_str();
        let serving: Vec<(&Serves<'w>, u16)> = leading.iter().map(|(serves, _)| (*serves, port)).collect();
        let (parts, _) = sets::parts_of_workload_port(&self.name.namespace, (account, None), &serving);
        content::is_read(reader, &self.name.namespace, &parts)
            || serving.iter().any(|(serves, target)| traffic::needs_users(reader, serves, *target))
    }

    fn vouchers(
        &self,
        reader: &Reader<'w>,
        bounds: &[&Bound<'w>],
        leading: &[&(&Serves<'w>, Bound<'w>)],
    ) -> Vec<Identity> {
        let mut found: BTreeSet<Identity> =
            bounds.iter().filter_map(|bound| Some(bound.through()?.identity.clone())).collect();
        for (serves, _) in leading {
            found.extend(vouchers::gateways_to(reader, serves.name));
            found.extend(vouchers::of_links(reader, serves.name));
        }
        found.into_iter().collect()
    }
}
