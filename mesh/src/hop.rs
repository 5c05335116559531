//! Decides where a connection goes.
//!
//! Pure: it reads one snapshot; it opens nothing and waits for nothing. The programs carry out what this
//! file decides: they dial, ask the control plane, or resolve a name, and then decide again.

mod forward;
mod outside;
#[cfg(test)]
mod tests;
mod words;

use std::{net::SocketAddr, sync::Arc};

use crate::{
    balance,
    denial::{Denial, Reason},
    names::{Hostname, ServiceKey, WorkloadUid},
    resource::{Admission, Binding, Reach, Service, Workload},
    snapshot::Snapshot,
};

pub use forward::{Forward, forward};
pub use words::{At, Authority, Avoid, Chosen, Departure, Destination, Hop, OWN_PORTS, Wanted};

/// Decides where a connection goes. `chance` is a random number, a fresh one for each attempt.
///
/// # Errors
/// When it may go nowhere.
pub fn decide(snapshot: &Snapshot, departure: &Departure, avoid: &Avoid, chance: u64) -> Result<Hop, Denial> {
    let path = Path::new(snapshot, departure, avoid, chance)?;
    match path.target(&departure.to)? {
        Target::Workload(workload, port) => path.to_workload(workload, port, None),
        Target::Service(service, port) => path.to_service(service, port, pinned(&departure.to)),
        Target::Elsewhere(hop) => Ok(hop),
    }
}

/// The endpoints among which [`decide`] would choose one for this departure, for callers that choose by how
/// busy each is and then go to [`Destination::Endpoint`]. Empty if there is nothing to choose.
///
/// # Errors
/// As [`decide`].
pub fn candidates(
    snapshot: &Snapshot,
    departure: &Departure,
    avoid: &Avoid,
) -> Result<Vec<Arc<Workload>>, Denial> {
    let path = Path::new(snapshot, departure, avoid, 0)?;
    match path.target(&departure.to)? {
        Target::Service(service, port) if path.reaches(service)? => path.eligible(service, port),
        _ => Ok(Vec::new()),
    }
}

/// The refusal when the control plane did not say in time what something is.
pub fn silent(wanted: &[Wanted]) -> Denial {
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    Denial::plain(
        Reason::ControlPlaneSilent,
        format!("the control plane did not say what {} is", names.join(" or ")),
    )
}

/// One decision under way.
struct Path<'a> {
    snapshot: &'a Snapshot,
    source: &'a Workload,
    avoid: &'a Avoid,
    chance: u64,
}

/// What was dialled, found.
enum Target<'a> {
    Workload(&'a Arc<Workload>, SocketAddr),
    Service(&'a Arc<Service>, u16),
    Elsewhere(Hop),
}

fn pinned(to: &Destination) -> Option<&WorkloadUid> {
    match to {
        Destination::Endpoint { workload, .. } => Some(workload),
        _ => None,
    }
}

impl<'a> Path<'a> {
    fn new(
        snapshot: &'a Snapshot,
        departure: &Departure,
        avoid: &'a Avoid,
        chance: u64,
    ) -> Result<Self, Denial> {
        let source = snapshot.workload(&departure.source).ok_or_else(|| {
            Denial::plain(Reason::SourceUnknown, format!("the workload {} is not held", departure.source))
        })?;
        Ok(Self { snapshot, source, avoid, chance })
    }

    fn target(&self, to: &Destination) -> Result<Target<'a>, Denial> {
        match to {
            Destination::Address(address) => self.at(*address),
            Destination::Name { host, port } => self.named(host, *port),
            Destination::Service { service, port } | Destination::Endpoint { service, port, .. } => {
                let held = self.snapshot.service(service).ok_or_else(|| {
                    Denial::plain(Reason::UnknownDestination, format!("the service {service} is not held"))
                })?;
                Ok(Target::Service(held, *port))
            }
        }
    }

    fn at(&self, address: SocketAddr) -> Result<Target<'a>, Denial> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if let Some(workload) = self.snapshot.workload_at(&self.source.network, address.ip()) {
            return Ok(Target::Workload(workload, address));
        }
        if let Some(service) = self.snapshot.service_at(address.ip(), &self.source.namespace) {
            return Ok(Target::Service(service, address.port()));
        }
        outside::address(self.snapshot, self.source, address).map(Target::Elsewhere)
    }

    fn named(&self, host: &Hostname, port: u16) -> Result<Target<'a>, Denial> {
        let names = outside::Names::new(self.snapshot, self.source, host)?;
        if let Some(address) = names.literal() {
            return self.at(SocketAddr::new(address, port));
        }
        let held = names.all().find_map(|name| self.snapshot.service_named(name, &self.source.namespace));
        match held {
            Some(service) => Ok(Target::Service(service, port)),
            None => names.elsewhere(self.snapshot, self.source, port).map(Target::Elsewhere),
        }
    }

    /// True if the service's endpoints are reached from here, false if only its waypoint is.
    fn reaches(&self, service: &Service) -> Result<bool, Denial> {
        match &service.binding {
            Binding::None => Ok(true),
            Binding::Through(waypoint) => Ok(self.source.serves(waypoint)),
            Binding::Missing(why) => Err(Denial::plain(
                Reason::WaypointMissing,
                format!("{} is bound to a waypoint that cannot be had: {why}", service.key),
            )),
        }
    }

    fn to_service(&self, service: &Service, port: u16, pinned: Option<&WorkloadUid>) -> Result<Hop, Denial> {
        if !service.ports.contains_key(&port) {
            return Err(Denial::plain(Reason::UnknownPort, format!("{} has no port {port}", service.key)));
        }
        let dialled = Some((service.key.clone(), port));
        if let Binding::Through(waypoint) = &service.binding
            && !self.reaches(service)?
        {
            let authority = match service.addresses.first() {
                Some(address) => Authority::Address(SocketAddr::new(*address, port)),
                None => Authority::Name { host: service.key.hostname.clone(), port },
            };
            return self.through(waypoint, authority, dialled);
        }
        self.reaches(service)?;
        let chosen = match pinned {
            Some(uid) => {
                self.snapshot.endpoints(&service.key).find(|it| it.uid == *uid && self.may_try(it)).cloned()
            }
            None => self.pick(self.eligible(service, port)?),
        };
        let chosen = chosen.ok_or_else(|| {
            Denial::plain(Reason::NoEndpoint, format!("no endpoint of {} can serve port {port}", service.key))
        })?;
        let target = chosen.target(&service.key, port).ok_or_else(|| {
            Denial::plain(
                Reason::UnknownPort,
                format!("{} serves {}, but not its port {port}", chosen.uid, service.key),
            )
        })?;
        match chosen.addresses.first() {
            Some(address) => self.to_workload(&chosen, SocketAddr::new(*address, target), dialled),
            None => self.to_remote(&chosen, dialled),
        }
    }

    /// Endpoints that may be chosen, the nearest only.
    fn eligible(&self, service: &Service, port: u16) -> Result<Vec<Arc<Workload>>, Denial> {
        let serving = self
            .snapshot
            .endpoints(&service.key)
            .filter(|it| it.target(&service.key, port).is_some() && self.may_try(it));
        Ok(balance::nearest(self.source, &service.balancing, serving.cloned().collect()))
    }

    fn may_try(&self, workload: &Workload) -> bool {
        !self.avoid.workloads.contains(&workload.uid)
            && match &workload.reach {
                Reach::Gateway { gateways, .. } => {
                    gateways.iter().any(|gateway| !self.avoid.gateways.contains(&gateway.address))
                }
                Reach::Tunnel(_) | Reach::Plain => true,
            }
    }

    fn pick(&self, endpoints: Vec<Arc<Workload>>) -> Option<Arc<Workload>> {
        let index = balance::pick(endpoints.iter().map(|it| it.capacity), self.chance)?;
        endpoints.into_iter().nth(index)
    }

    /// To a workload of this network, at one of its own addresses.
    fn to_workload(
        &self,
        workload: &Arc<Workload>,
        address: SocketAddr,
        service: Option<(ServiceKey, u16)>,
    ) -> Result<Hop, Denial> {
        let port = address.port();
        if OWN_PORTS.contains(&port) {
            return Err(Denial::plain(Reason::Loop, format!("port {port} is one of our own")));
        }
        let tunnel = match &workload.reach {
            Reach::Tunnel(tunnel) if workload.network == self.source.network => *tunnel,
            Reach::Plain => return outside::direct(self.source, address),
            Reach::Tunnel(_) => {
                return Err(Denial::plain(
                    Reason::NoGateway,
                    format!("{} is in the network {}", workload.uid, workload.network),
                ));
            }
            Reach::Gateway { .. } => return self.to_remote(workload, service),
        };
        let policy = workload.port(port);
        if let Admission::Through { waypoints, dial } = &policy.admission
            && !waypoints.contains(&self.source.identity)
        {
            let Some(waypoint) = dial else {
                return Err(Denial::plain(
                    Reason::WaypointMissing,
                    format!("port {port} of {} admits only waypoints, and there is none", workload.uid),
                ));
            };
            return self.through(waypoint, Authority::Address(address), service);
        }
        Ok(Hop::Tunnel {
            address: tunnel,
            peers: vec![workload.identity.clone()],
            authority: Authority::Address(address),
            chosen: Chosen { workload: workload.clone(), at: At::Port(port, policy.set.clone()), service },
        })
    }

    /// To a service of another cluster. It is reached by its name only.
    fn to_remote(&self, workload: &Arc<Workload>, service: Option<(ServiceKey, u16)>) -> Result<Hop, Denial> {
        let (Reach::Gateway { gateways, authority, peers }, Some((_, port))) = (&workload.reach, &service)
        else {
            return Err(Denial::plain(
                Reason::NoGateway,
                format!("{} has no address here, and is reached by the name of a service only", workload.uid),
            ));
        };
        let usable: Vec<_> =
            gateways.iter().filter(|gateway| !self.avoid.gateways.contains(&gateway.address)).collect();
        // Which endpoint and which gateway are two choices: they must not lean on the same digits of chance.
        let index =
            balance::pick(usable.iter().map(|_| 1), self.chance.rotate_left(32)).ok_or_else(|| {
                Denial::plain(Reason::NoGateway, format!("no gateway to {} can be tried", workload.network))
            })?;
        if peers.is_empty() {
            return Err(Denial::plain(
                Reason::NoEndpoint,
                format!("{authority} says nobody who serves it, so nobody can be trusted to"),
            ));
        }
        Ok(Hop::ThroughGateway {
            gateway: usable[index].clone(),
            authority: Authority::Name { host: authority.clone(), port: *port },
            peers: peers.clone(),
            capacity: workload.capacity,
            chosen: Chosen { workload: workload.clone(), at: At::Remote, service },
        })
    }

    /// Through a waypoint, which must be there.
    fn through(
        &self,
        waypoint: &ServiceKey,
        authority: Authority,
        service: Option<(ServiceKey, u16)>,
    ) -> Result<Hop, Denial> {
        let (chosen, address) = self.waypoint(waypoint)?;
        Ok(Hop::Tunnel {
            address,
            peers: vec![chosen.identity.clone()],
            authority,
            chosen: Chosen { workload: chosen, at: At::Waypoint, service },
        })
    }

    /// One workload of a waypoint, and where it accepts tunnels.
    fn waypoint(&self, key: &ServiceKey) -> Result<(Arc<Workload>, SocketAddr), Denial> {
        let missing =
            |what: &str| Denial::plain(Reason::WaypointMissing, format!("the waypoint {key} {what}"));
        let service = self.snapshot.service(key).ok_or_else(|| missing("is not there"))?;
        let here = |it: &&Arc<Workload>| matches!(it.reach, Reach::Tunnel(_)) && self.may_try(it);
        let serving = self.snapshot.endpoints(key).filter(here).cloned().collect();
        let chosen = self
            .pick(balance::nearest(self.source, &service.balancing, serving))
            .ok_or_else(|| missing("has nobody who serves it"))?;
        match chosen.reach {
            Reach::Tunnel(address) if chosen.network == self.source.network => Ok((chosen, address)),
            _ => Err(missing("is not of this network")),
        }
    }
}
