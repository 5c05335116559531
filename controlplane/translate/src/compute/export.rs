//! What goes over each link: names, ports, capacity, health, who serves and whose word is taken, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use api::{Kind, Name, core::Protocol as Transport};
use mesh::{identity::Identity, resource::Health};

use crate::{
    binding::Bound,
    exports::{ExportedName, ExportedPort, ExportedService, SERVING_IDENTITIES_MAX, ServedBy},
    link::{self, Link},
    made::{Exports, Made},
    names, ports, protocol,
    reader::Reader,
    status::{self, ConditionKind, Conditions, Fault, Status},
};

pub(super) fn compute(reader: &Reader<'_>, name: &str) -> Made {
    let link = all_named(reader, name);
    let exports = link.map(|link| Exports {
        link: name.into(),
        reader: link.reader.clone(),
        services: services(reader, &link),
    });
    Made { exports, ..Made::default() }
}

fn all_named<'w>(reader: &Reader<'w>, name: &str) -> Option<Link<'w>> {
    link::all(reader).into_iter().find(|link| link.name.name == name)
}

/// The services that go over a link.
pub(super) fn services(reader: &Reader<'_>, link: &Link<'_>) -> Vec<ExportedService> {
    let namespaces: BTreeSet<&str> = link
        .spec
        .export
        .iter()
        .flat_map(|export| export.namespaces.iter())
        .map(|name| name.as_str())
        .collect();
    let mut found = Vec::new();
    for namespace in namespaces {
        for (export, _) in reader.exports_within(namespace) {
            found.extend(service(reader, link, namespace, &export.name));
        }
    }
    found
}

fn service(reader: &Reader<'_>, link: &Link<'_>, namespace: &str, name: &str) -> Option<ExportedService> {
    let object = reader.service(namespace, name)?;
    let own = Name::new(Kind::Service, namespace, name);
    let tcp = object.spec.ports.iter().filter(|port| port.protocol == Transport::Tcp);
    let exported: BTreeMap<u16, ExportedPort> = tcp
        .map(|port| {
            let named = port.name.as_ref().map(|name| name.as_str());
            let port_exported =
                ExportedPort { name: named.unwrap_or("").into(), protocol: protocol::of(port) };
            (port.port, port_exported)
        })
        .collect();
    let served = Serving::of(reader, namespace, &own);
    let served_by = match Bound::of_service(reader, &own, &object.metadata.labels) {
        Bound::Through { gateway, .. } => ServedBy::Waypoint(vec![gateway.identity.clone()]),
        // Once bound, its waypoint is the only way; without it nobody serves.
        Bound::Missing { .. } => ServedBy::Waypoint(Vec::new()),
        Bound::No | Bound::Pending { .. } => {
            ServedBy::Workloads(served.identities.into_iter().take(SERVING_IDENTITIES_MAX).collect())
        }
    };
    Some(ExportedService {
        name: ExportedName { namespace: namespace.into(), name: name.into() },
        ports: exported,
        capacity: served.capacity,
        healthy: served.healthy && !served_by.identities().is_empty(),
        served_by,
        vouchers: link::vouchers(reader, &link.trust_domain).into_iter().collect(),
    })
}

/// Who serves a Service here.
pub(super) struct Serving {
    pub(super) identities: BTreeSet<Identity>,
    pub(super) capacity: u32,
    pub(super) healthy: bool,
}

impl Serving {
    pub(super) fn of(reader: &Reader<'_>, namespace: &str, service: &Name) -> Self {
        let settings = reader.settings();
        let mut serving = Self { identities: BTreeSet::new(), capacity: 0, healthy: false };
        let Some(object) = reader.service(namespace, &service.name) else { return serving };
        if object.spec.selector.is_empty() {
            return serving;
        }
        for (name, workload) in reader.workloads_within(namespace) {
            let selected = object.spec.selector.are_all_in(&workload.metadata.labels);
            if !selected || ports::serves(service, object, &workload.spec).ports.is_empty() {
                continue;
            }
            let Ok(identity) = names::identity(settings, namespace, workload.spec.service_account.as_str())
            else {
                continue;
            };
            serving.identities.insert(identity);
            serving.capacity = serving.capacity.saturating_add(1);
            serving.healthy |= reader.health(&names::uid(settings, name)) == Health::Healthy;
        }
        serving
    }
}

/// Tells of a ServiceExport where its Service goes.
pub(super) fn status(reader: &Reader<'_>, name: &Name, generation: Option<i64>) -> Made {
    let conditions = Conditions::of(generation);
    let service = Name::new(Kind::Service, &name.namespace, &name.name);
    let missing = reader.service(&name.namespace, &name.name).is_none();
    let accepted = missing.then(|| Fault::new("NoService", format!("there is no {service} to export")));
    let links = link::exporting(reader, &service);
    let nowhere = links.is_empty().then(|| {
        Fault::new(
            "NotExported",
            format!(
                "no ClusterLink has namespace {} in spec.export.namespaces, so it goes nowhere",
                name.namespace
            ),
        )
    });
    let goes: Vec<&str> = links.iter().map(|link| link.name.name.as_str()).collect();
    let fault = status::first([accepted.clone(), nowhere]);
    let told = vec![
        conditions.judge(ConditionKind::Accepted, accepted.as_ref(), "the Service exists"),
        conditions.judge(
            ConditionKind::Programmed,
            fault.as_ref(),
            &format!("exported over {}", goes.join(", ")),
        ),
    ];
    Made { status: Some((name.clone(), Status { conditions: told, ..Status::default() })), ..Made::default() }
}
