//! Decides where an east-west gateway forwards what it cannot read.

use std::net::SocketAddr;

use super::{At, Avoid, Chosen, Departure, Destination, Path};
use crate::{
    denial::{Denial, Reason},
    identity::TrustDomain,
    names::{Hostname, WorkloadUid},
    resource::{Admission, Binding, Reach},
    snapshot::Snapshot,
};

/// Where an east-west gateway sends the bytes of an inner tunnel.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The tunnel address of who serves.
    pub address: SocketAddr,
    /// Who was chosen.
    pub chosen: Chosen,
}

/// Decides where an east-west gateway forwards what a peer of another trust domain asked for by name. Only
/// to this cluster: a gateway is no way to a third one.
///
/// # Errors
/// When the name is not exported to the peer's trust domain, or nobody serves it.
pub fn forward(
    snapshot: &Snapshot,
    gateway: &WorkloadUid,
    host: &Hostname,
    port: u16,
    peer: &TrustDomain,
    avoid: &Avoid,
    chance: u64,
) -> Result<Forward, Denial> {
    // What is not exported is not told from what is not there.
    let service = snapshot.exported(host, peer).ok_or_else(|| {
        Denial::plain(Reason::NotExported, format!("no service {host} is exported to {peer}"))
    })?;
    let to = Destination::Service { service: service.key.clone(), port };
    let path = Path::new(snapshot, &Departure { source: gateway.clone(), to }, avoid, chance)?;
    if !service.ports.contains_key(&port) {
        return Err(Denial::plain(Reason::UnknownPort, format!("{} has no port {port}", service.key)));
    }
    let dialled = Some((service.key.clone(), port));
    if let Binding::Through(waypoint) = &service.binding {
        let (workload, address) = path.waypoint(waypoint)?;
        return Ok(Forward { address, chosen: Chosen { workload, at: At::Waypoint, service: dialled } });
    }
    path.reaches(service)?;
    let mut endpoints = path.eligible(service, port)?;
    endpoints.retain(|it| matches!(it.reach, Reach::Tunnel(_)) && it.network == path.source.network);
    let none =
        || Denial::plain(Reason::NoEndpoint, format!("no endpoint of {} is in this cluster", service.key));
    let workload = path.pick(endpoints).ok_or_else(none)?;
    let target = workload.target(&service.key, port).ok_or_else(none)?;
    let policy = workload.port(target);
    match (&policy.admission, &workload.reach) {
        (Admission::Through { dial: Some(waypoint), .. }, _) => {
            let (workload, address) = path.waypoint(waypoint)?;
            Ok(Forward { address, chosen: Chosen { workload, at: At::Waypoint, service: dialled } })
        }
        (Admission::Through { dial: None, .. }, _) => Err(Denial::plain(
            Reason::WaypointMissing,
            format!("port {target} of {} admits only waypoints, and there is none", workload.uid),
        )),
        (Admission::Direct, Reach::Tunnel(address)) => {
            let (address, at) = (*address, At::Port(target, policy.set.clone()));
            Ok(Forward { address, chosen: Chosen { workload, at, service: dialled } })
        }
        (Admission::Direct, _) => Err(none()),
    }
}
