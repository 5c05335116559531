//! Decides what a stream that arrived is for, and on whose behalf. Pure.
//!
//! Streams arrive in tunnels, whose other end is proven, or at the edge, where nobody is.

use std::{net::IpAddr, sync::Arc};

use exchange::Place;
use mesh::{
    Caller, Denial, Peer, Reason,
    admission::{self, Arrival, Entrance, TlsPeer},
    names::{Hostname, ObjectName, ServiceKey, WorkloadUid},
    resource::{Admission, Binding, ListenerRole, Protocol, Service, Workload},
    snapshot::Snapshot,
};
use runtime::spans::Link;
use transport::{
    VerifiedPeer,
    hbone::{Authority, Origin, OriginField},
};

use crate::{edge::Door, own::Own};

/// A stream that may come in.
#[derive(Debug, Clone)]
pub struct Entered {
    /// On whose behalf.
    pub caller: Caller,
    /// How it came, so that it can be admitted again.
    pub came: CameBy,
    /// The caller's address, if it was said.
    pub source_address: Option<IpAddr>,
    /// The span of the connection that carries the stream.
    pub carrier: Option<Link>,
}

/// How a stream came in.
#[derive(Debug, Clone)]
pub enum CameBy {
    /// In a tunnel, from somebody who proved an identity.
    Tunnel(Arrival),
    /// Through a listener for those outside the mesh.
    Edge {
        /// True: over TLS.
        secured: bool,
    },
}

impl CameBy {
    /// Admits it, under this snapshot: nobody is admitted for good.
    ///
    /// # Errors
    /// When it may no longer come in.
    pub fn admit(&self, snapshot: &Snapshot) -> Result<Caller, Denial> {
        match self {
            Self::Tunnel(arrival) => admission::check(snapshot, arrival),
            // Anyone may knock; what they may is for the policies of the listener.
            Self::Edge { .. } => Ok(Caller { workload: Peer::Unknown, by: None }),
        }
    }

    /// The arrival, if it came in a tunnel.
    pub fn arrival(&self) -> Option<&Arrival> {
        match self {
            Self::Tunnel(arrival) => Some(arrival),
            Self::Edge { .. } => None,
        }
    }
}

/// To what the requests of a stream are addressed.
#[derive(Debug, Clone)]
pub enum Front {
    /// To a port of a service.
    Service(ServicePort),
    /// To whatever host they name, of those that the listeners of a port serve.
    Edge(Door),
}

impl Front {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Service(service) => service.port,
            Self::Edge(door) => door.port,
        }
    }

    /// The service, if one was addressed.
    pub fn service(&self) -> Option<(ServiceKey, u16)> {
        match self {
            Self::Service(service) => Some((service.service.clone(), service.port)),
            Self::Edge(_) => None,
        }
    }

    /// What the port speaks; at the edge, whatever a route leads to.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::Service(service) => service.protocol,
            Self::Edge(_) => Protocol::Http,
        }
    }

    /// The place whose policies protect it; at the edge it depends on the request.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Service(service) => Some(service.place()),
            Self::Edge(_) => None,
        }
    }
}

/// What a stream is for.
#[derive(Debug, Clone)]
pub enum Addressed {
    /// A port of a service that we serve.
    Service(ServicePort),
    /// A port of a workload that no service speaks for.
    Workload {
        /// The workload.
        workload: WorkloadUid,
        /// Its port.
        port: u16,
    },
    /// An exported name: the bytes inside are for another.
    Exported {
        /// The name.
        host: Hostname,
        /// The port.
        port: u16,
    },
}

/// A port of a service.
#[derive(Debug, Clone)]
pub struct ServicePort {
    /// The service.
    pub service: ServiceKey,
    /// Its port.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// The AgentBackend that it stands for.
    pub backend: Option<ObjectName>,
    /// Only this endpoint: it was addressed itself.
    pub pin: Option<WorkloadUid>,
}

impl ServicePort {
    /// The place whose policies protect it.
    pub fn place(&self) -> Place {
        Place::Service { service: self.service.clone(), port: self.port }
    }
}

/// Admits a stream, by who opened its tunnel, for whom it speaks and what it asks for.
///
/// # Errors
/// When it may not come in, or asks for what is not served here.
pub fn enter(
    snapshot: &Snapshot,
    own: &Own,
    peer: &VerifiedPeer,
    origin: &OriginField,
    claimed: Option<IpAddr>,
    authority: &Authority,
) -> Result<(Entered, Addressed), Denial> {
    let not_before = peer.not_before.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let arrival = Arrival {
        workload: own.uid.clone(),
        at: Entrance::Waypoint,
        peer: TlsPeer { identity: peer.identity.clone(), not_before },
        origin: origin_of(origin),
    };
    let caller = admission::check(snapshot, &arrival)?;
    let to = addressed(snapshot, own, peer, authority)?;
    let source_address = snapshot
        .workload(&own.uid)
        .and_then(|ourselves| admission::source_address(snapshot, ourselves, &caller, claimed));
    Ok((Entered { caller, came: CameBy::Tunnel(arrival), source_address, carrier: None }, to))
}

fn origin_of(origin: &OriginField) -> admission::Origin {
    match origin {
        OriginField::Absent => admission::Origin::Absent,
        OriginField::One(Origin::Identity(identity)) => admission::Origin::Identity(identity.clone()),
        OriginField::One(Origin::Unknown) => admission::Origin::Unknown,
        OriginField::Malformed => admission::Origin::Malformed,
        OriginField::Many(count) => admission::Origin::Many(*count),
    }
}

/// What our own listeners make us.
fn has_role(snapshot: &Snapshot, role: ListenerRole) -> bool {
    snapshot.listeners().any(|listener| listener.role == role)
}

fn addressed(
    snapshot: &Snapshot,
    own: &Own,
    peer: &VerifiedPeer,
    authority: &Authority,
) -> Result<Addressed, Denial> {
    let ourselves = snapshot
        .workload(&own.uid)
        .ok_or_else(|| Denial::plain(Reason::WaypointMissing, "we were not told who we are"))?;
    match authority {
        Authority::Name { host, port } if has_role(snapshot, ListenerRole::EastWest) => {
            let exported = snapshot
                .service_named(host, "")
                .filter(|service| service.exported_to.contains(peer.identity.trust_domain()));
            match exported {
                Some(service) if service.ports.contains_key(port) => {
                    Ok(Addressed::Exported { host: host.clone(), port: *port })
                }
                Some(_) => Err(Denial::plain(Reason::UnknownPort, format!("{host} has no port {port}"))),
                None => {
                    let to = peer.identity.trust_domain().as_str();
                    Err(Denial::plain(Reason::NotExported, format!("{host} is not exported to {to}")))
                }
            }
        }
        _ if !has_role(snapshot, ListenerRole::Waypoint) => {
            Err(Denial::plain(Reason::UnknownDestination, format!("{authority} is not served here")))
        }
        Authority::Name { host, port } => {
            let service = snapshot.service_named(host, &ourselves.namespace);
            let service = service.ok_or_else(|| unknown(authority))?;
            of_service(ourselves, service, *port)
        }
        Authority::Address(address) => {
            if let Some(service) = snapshot.service_at(address.ip(), &ourselves.namespace) {
                return of_service(ourselves, service, address.port());
            }
            let workload =
                snapshot.workload_at(&ourselves.network, address.ip()).ok_or_else(|| unknown(authority))?;
            of_workload(snapshot, ourselves, workload, address.port())
        }
    }
}

fn unknown(authority: &Authority) -> Denial {
    Denial::plain(Reason::UnknownDestination, format!("{authority} is nothing that is served here"))
}

/// True if the gateway is one that we are an endpoint of.
fn is_ours(ourselves: &Workload, gateway: &ServiceKey) -> bool {
    ourselves.services.contains_key(gateway.to_string().as_str())
}

fn of_service(ourselves: &Workload, service: &Arc<Service>, port: u16) -> Result<Addressed, Denial> {
    match &service.binding {
        Binding::Through(gateway) if is_ours(ourselves, gateway) => {}
        _ => {
            let text = format!("{} is not bound to this waypoint", service.key);
            return Err(Denial::plain(Reason::UnknownDestination, text));
        }
    }
    let found = service.ports.get(&port);
    let found = found
        .ok_or_else(|| Denial::plain(Reason::UnknownPort, format!("{} has no port {port}", service.key)))?;
    Ok(Addressed::Service(ServicePort {
        service: service.key.clone(),
        port,
        protocol: found.protocol,
        backend: found.backend.clone(),
        pin: None,
    }))
}

fn of_workload(
    snapshot: &Snapshot,
    ourselves: &Workload,
    workload: &Arc<Workload>,
    port: u16,
) -> Result<Addressed, Denial> {
    match &workload.ports.get(&port).unwrap_or(&workload.other_ports).admission {
        Admission::Through { dial: Some(gateway), .. } if is_ours(ourselves, gateway) => {}
        _ => {
            let text = format!("port {port} of {} is not bound to this waypoint", workload.uid);
            return Err(Denial::plain(Reason::UnknownDestination, text));
        }
    }
    // The service that leads to the port says what it speaks.
    for (service, mappings) in &workload.services {
        let Some(mapping) = mappings.iter().find(|mapping| mapping.target == port) else { continue };
        let Ok(key) = service.parse::<ServiceKey>() else { continue };
        let Some(found) = snapshot.service(&key).and_then(|service| service.ports.get(&mapping.service))
        else {
            continue;
        };
        return Ok(Addressed::Service(ServicePort {
            service: key,
            port: mapping.service,
            protocol: found.protocol,
            backend: found.backend.clone(),
            pin: Some(workload.uid.clone()),
        }));
    }
    Ok(Addressed::Workload { workload: workload.uid.clone(), port })
}
