//! A workload in Istio's words, and the rest in ours.

use std::{collections::BTreeMap, sync::Arc};

use mesh::{
    identity::Identity,
    names::WorkloadUid,
    resource::{Admission, Egress, Health, Labels, Locality, PortMapping, Reach, Workload, WorkloadPort},
};
use proto::istio::workload::{self as istio, Port, PortList, TunnelProtocol, WorkloadStatus};
use serde::{Deserialize, Serialize};

use super::{
    endpoint::{address_bytes, gateway, read_address, read_port},
    error::{DecodeError, EncodeError},
    facts,
};

/// The name of the extension.
const FACTS: &str = "strait.v1.WorkloadFacts";

/// What Istio has no words for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadFacts {
    identity: Identity,
    reach: Reach,
    ports: BTreeMap<u16, WorkloadPort>,
    other_ports: WorkloadPort,
    egress: Egress,
    vouchers: Vec<Identity>,
}

pub(super) fn write(from: &Workload) -> Result<istio::Workload, EncodeError> {
    let tunnel = match &from.reach {
        Reach::Tunnel(_) | Reach::Gateway { .. } => TunnelProtocol::Hbone,
        Reach::Plain => TunnelProtocol::None,
    };
    let status = match from.health {
        Health::Healthy => WorkloadStatus::Healthy,
        Health::Unhealthy => WorkloadStatus::Unhealthy,
    };
    let facts = WorkloadFacts {
        identity: from.identity.clone(),
        reach: from.reach.clone(),
        ports: from.ports.clone(),
        other_ports: from.other_ports.clone(),
        egress: from.egress,
        vouchers: from.vouchers.clone(),
    };
    Ok(istio::Workload {
        uid: from.uid.to_string(),
        name: from.name.to_string(),
        namespace: from.namespace.to_string(),
        addresses: from.addresses.iter().map(address_bytes).collect(),
        network: from.network.to_string(),
        tunnel_protocol: tunnel.into(),
        trust_domain: from.identity.trust_domain().to_string(),
        service_account: from.identity.kubernetes().map(|(_, name)| name.to_owned()).unwrap_or_default(),
        waypoint: match &from.other_ports.admission {
            Admission::Through { dial: Some(service), .. } => Some(gateway(service)),
            Admission::Through { dial: None, .. } | Admission::Direct => None,
        },
        node: from.node.to_string(),
        canonical_name: from.labels.app.to_string(),
        canonical_revision: from.labels.version.to_string(),
        services: from.services.iter().map(|(key, ports)| (key.to_string(), port_list(ports))).collect(),
        status: status.into(),
        cluster_id: from.cluster.to_string(),
        locality: Some(istio::Locality {
            region: from.locality.region.to_string(),
            zone: from.locality.zone.to_string(),
            subzone: from.locality.subzone.to_string(),
        }),
        capacity: Some(from.capacity),
        extensions: vec![facts::write(FACTS, &facts)?],
        ..istio::Workload::default()
    })
}

pub(super) fn read(from: &istio::Workload) -> Result<Workload, DecodeError> {
    let facts: WorkloadFacts = facts::read(FACTS, &from.extensions)?;
    let health = match from.status() {
        WorkloadStatus::Healthy => Health::Healthy,
        WorkloadStatus::Unhealthy => Health::Unhealthy,
    };
    let locality = from.locality.as_ref().ok_or_else(|| DecodeError::part("locality", "is missing"))?;
    let services = from
        .services
        .iter()
        .map(|(key, list)| Ok((Arc::from(key.as_str()), mappings(list)?)))
        .collect::<Result<_, DecodeError>>()?;
    Ok(Workload {
        uid: WorkloadUid::from(&from.uid),
        name: from.name.as_str().into(),
        namespace: from.namespace.as_str().into(),
        cluster: from.cluster_id.as_str().into(),
        network: from.network.as_str().into(),
        identity: facts.identity,
        node: from.node.as_str().into(),
        locality: Locality {
            region: locality.region.as_str().into(),
            zone: locality.zone.as_str().into(),
            subzone: locality.subzone.as_str().into(),
        },
        addresses: from.addresses.iter().map(|bytes| read_address(bytes)).collect::<Result<_, _>>()?,
        reach: facts.reach,
        ports: facts.ports,
        other_ports: facts.other_ports,
        services,
        capacity: from.capacity.ok_or_else(|| DecodeError::part("capacity", "is missing"))?,
        health,
        egress: facts.egress,
        vouchers: facts.vouchers,
        labels: Labels {
            app: from.canonical_name.as_str().into(),
            version: from.canonical_revision.as_str().into(),
        },
    })
}

fn port_list(ports: &[PortMapping]) -> PortList {
    let port = |mapping: &PortMapping| Port {
        service_port: mapping.service.into(),
        target_port: mapping.target.into(),
        ..Port::default()
    };
    PortList { ports: ports.iter().map(port).collect() }
}

fn mappings(list: &PortList) -> Result<Vec<PortMapping>, DecodeError> {
    let mapping = |port: &Port| {
        Ok(PortMapping { service: read_port(port.service_port)?, target: read_port(port.target_port)? })
    };
    list.ports.iter().map(mapping).collect()
}
