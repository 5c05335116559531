//! What a CONNECT says beside where it goes: where it comes from, for people and metrics; nothing of it is proof.

use std::net::IpAddr;

use mesh::{hop::Authority, names::ServiceKey, resource::Workload};
use runtime::TraceContext;
use transport::hbone::{self, ConnectRequest};

/// A CONNECT of a workload.
pub(crate) fn request(
    source: &Workload,
    authority: &Authority,
    service: Option<&(ServiceKey, u16)>,
    trace: &TraceContext,
) -> ConnectRequest {
    ConnectRequest {
        authority: to_wire(authority),
        origin: None,
        forwarded: source.addresses.first().map(|address| forwarded(*address, service)),
        baggage: Some(baggage(source)),
        network: None,
        trace: Some(trace.parent()),
    }
}

/// The same authority, as `transport` says it.
pub(crate) fn to_wire(authority: &Authority) -> hbone::Authority {
    match authority {
        Authority::Address(address) => hbone::Authority::Address(*address),
        Authority::Name { host, port } => hbone::Authority::Name { host: host.clone(), port: *port },
    }
}

/// RFC 7239, section 4; IPv6 addresses stand in brackets.
fn forwarded(address: IpAddr, service: Option<&(ServiceKey, u16)>) -> String {
    let address = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    match service {
        Some((service, _)) => format!("for=\"{address}\";host={}", service.hostname),
        None => format!("for=\"{address}\""),
    }
}

/// Istio's description of a workload.
pub(crate) fn baggage(workload: &Workload) -> String {
    let fields = [
        ("k8s.cluster.name", workload.cluster.as_str()),
        ("k8s.namespace.name", &workload.namespace),
        ("k8s.pod.name", &workload.name),
        ("service.name", &workload.labels.app),
        ("service.version", &workload.labels.version),
        ("cloud.region", &workload.locality.region),
        ("cloud.availability_zone", &workload.locality.zone),
    ];
    let said = fields.iter().filter(|(_, value)| !value.is_empty());
    said.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
