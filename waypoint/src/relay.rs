//! Streams whose bytes nobody reads here: TCP ports under layer 4 policies, and inner tunnels at an east-west gateway.

use std::sync::Arc;

use exchange::{Closing, Place, Purpose, Trail, Upstream};
use mesh::{
    Denial, Facts, Reason,
    facts::Fact,
    hop::{self, At, Avoid, Departure, Destination},
    names::ServiceKey,
    resource::Workload,
};
use runtime::TraceContext;
use transport::{
    Cancel, DialError, Fault, Stream,
    hbone::{Connect, RefusalStatus, ResponseHead},
    relay::Options,
};

use crate::{
    causes::with_causes,
    connections::{Kind, Running},
    entrance::{Addressed, Entered},
    report::Ended,
    upstreams::dial::{self, Way},
    waypoint::Waypoint,
};

/// Endpoints that are tried before a stream is given up.
pub const ATTEMPTS_MAX: usize = 4;

/// Relays a stream that arrived, to where it is for.
pub async fn serve(
    waypoint: &Waypoint,
    entered: &Entered,
    to: &Addressed,
    trace: Option<&TraceContext>,
    connect: Connect,
) {
    let facts = Arc::new(Facts {
        caller: entered.caller.clone(),
        source_address: entered.source_address,
        port: port_of(to),
        http: Fact::Missing("the port is relayed as bytes"),
        mcp: Fact::Missing("the port is relayed as bytes"),
        a2a: Fact::Missing("the port is relayed as bytes"),
        llm: Fact::Missing("the port is relayed as bytes"),
        user: None,
    });
    let (trail, closing) = (Trail::default(), Closing::default());
    let places = places(waypoint, to);
    if let Some(addressed) = places.last() {
        trail.addressed(addressed.clone());
    }
    let ended = Ended::relay(waypoint, entered, trace, service_of(to), connect.authority.to_string());
    trail.traced(ended.context());
    let _registered = waypoint.connections.register(Running {
        kind: Kind::Relay,
        came: entered.came.clone(),
        facts: Arc::clone(&facts),
        places: places.clone(),
        trail: trail.clone(),
        closing: closing.clone(),
        began: ended.began(),
    });
    // Admitted once more, now that a revocation would find it.
    let admitted = entered.came.admit(&waypoint.worlds.load().snapshot).map(drop);
    let judged = places.iter().try_for_each(|place| waypoint.judge.judge(place, &facts, Purpose::Decide));
    let judged = judged.and_then(|()| readable(waypoint, &places, &facts));
    let reached = match admitted.and(judged) {
        Ok(()) => reach(waypoint, (entered, to), &facts, &trail, &closing).await,
        Err(denial) => Err((RefusalStatus::Denied, denial)),
    };
    match reached {
        Err((status, denial)) => {
            let id = waypoint.register.refused(&denial, &facts, &trail);
            trail.refused(&denial, &id);
            connect.refuse(status, Some(&format!("id={id}; reason={}", denial.reason)));
            ended.finish_relay(0, 0, &trail.record());
        }
        Ok(upstream) => match connect.accept(ResponseHead::default()) {
            Ok(stream) => carry(waypoint, stream, upstream, &closing, &trail, ended).await,
            Err(error) => {
                trail.failed(error);
                ended.finish_relay(0, 0, &trail.record());
            }
        },
    }
}

/// What reads content, counts requests or asks somebody else cannot do so where bytes are only relayed.
fn readable(waypoint: &Waypoint, places: &[Place], facts: &Facts) -> Result<(), Denial> {
    let known = &waypoint.known;
    if let Some(guard) = known.guards(places).first() {
        let why = format!("{} reads content, and this port is relayed as bytes", guard.name);
        return Err(Denial::plain(Reason::GuardFailed, why));
    }
    if let Some(quota) = known.quotas(places).first() {
        let why = format!("{} counts requests, and this port is relayed as bytes", quota.name);
        return Err(Denial::plain(Reason::QuotaExceeded, why));
    }
    for place in places {
        if !waypoint.judge.authorizers(place, facts)?.is_empty() {
            let why = "an external authorizer judges requests, and this port is relayed as bytes";
            return Err(Denial::plain(Reason::ExternalFailed, why));
        }
    }
    Ok(())
}

async fn carry(
    waypoint: &Waypoint,
    stream: Stream,
    upstream: Stream,
    closing: &Closing,
    trail: &Trail,
    mut ended: Ended,
) {
    let cancel = Cancel::new();
    let options = Options { idle_timeout: Some(waypoint.limits.idle_timeout), ..Options::default() };
    ended.opened(&options.counts, &trail.record());
    let relay = transport::relay(stream, upstream, &cancel, &options);
    tokio::pin!(relay);
    let relayed = tokio::select! {
        relayed = &mut relay => relayed,
        denial = closing.closed() => {
            ended.closed(&denial);
            cancel.cancel();
            relay.await
        }
    };
    match &relayed.end {
        transport::relay::End::Finished | transport::relay::End::Cancelled => {}
        transport::relay::End::Idle => trail.failed("nothing moved for too long"),
        transport::relay::End::Failed { cause, .. } => trail.failed(cause),
    }
    ended.finish_relay(relayed.sent, relayed.received, &trail.record());
}

fn port_of(to: &Addressed) -> u16 {
    match to {
        Addressed::Service(port) => port.port,
        Addressed::Workload { port, .. } | Addressed::Exported { port, .. } => *port,
    }
}

fn service_of(to: &Addressed) -> Option<(ServiceKey, u16)> {
    match to {
        Addressed::Service(port) => Some((port.service.clone(), port.port)),
        Addressed::Workload { .. } | Addressed::Exported { .. } => None,
    }
}

/// Whose policies a stream passes before its endpoint is chosen. At an east-west gateway: none, because who comes
/// inside is known only to the other end, which judges.
fn places(waypoint: &Waypoint, to: &Addressed) -> Vec<Place> {
    let world = waypoint.worlds.load();
    let listeners = world.snapshot.listeners().filter(|it| it.role == mesh::resource::ListenerRole::Waypoint);
    let way_in =
        listeners.map(|it| Place::Listener { gateway: it.gateway.clone(), listener: it.name.clone() });
    match to {
        Addressed::Service(port) => way_in.chain([port.place()]).collect(),
        Addressed::Workload { workload, port } => {
            way_in.chain([Place::Workload { workload: workload.clone(), port: *port }]).collect()
        }
        Addressed::Exported { .. } => Vec::new(),
    }
}

type Unreached = (RefusalStatus, Denial);

async fn reach(
    waypoint: &Waypoint,
    (entered, to): (&Entered, &Addressed),
    facts: &Facts,
    trail: &Trail,
    closing: &Closing,
) -> Result<Stream, Unreached> {
    let mut avoid = Avoid::default();
    let mut last = None;
    for _ in 0..ATTEMPTS_MAX {
        let way = match way(waypoint, entered, to, &avoid) {
            Ok(way) => way,
            // The first failure to connect says more than that nobody is left.
            Err(denial) => return Err(last.unwrap_or((status_of(&denial), denial))),
        };
        let place = match &way.chosen.at {
            At::Port(port, _) if speaks_inside(entered, to, &way.chosen.workload, *port) => None,
            At::Port(port, _) => {
                Some(Place::Workload { workload: way.chosen.workload.uid.clone(), port: *port })
            }
            At::Waypoint | At::Remote => None,
        };
        if let Some(place) = &place {
            // Noted before it is judged: a denial that arrives meanwhile finds it.
            trail.used(place.clone());
            let judged = waypoint.judge.judge(place, facts, Purpose::Decide);
            judged.map_err(|denial| (RefusalStatus::Denied, denial))?;
        }
        trail.attempt(upstream_of(&way));
        let way = Way { trace: trail.trace(), ..way };
        let dialled = tokio::select! {
            dialled = waypoint.dial.dial(&way) => dialled,
            denial = closing.closed() => return Err((RefusalStatus::Denied, Denial::clone(&denial))),
        };
        match dialled {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                let (again, unreached) = unreached(&way, &error);
                if !again {
                    return Err(unreached);
                }
                if let Some(place) = &place {
                    trail.unused(place);
                }
                avoid.workloads.push(way.chosen.workload.uid.clone());
                last.get_or_insert(unreached);
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        (RefusalStatus::Unavailable, Denial::plain(Reason::NoEndpoint, "no endpoint could be reached"))
    }))
}

/// True if what is forwarded is of somebody whose word about callers is taken at its end: it says inside for whom it
/// speaks, so only the end can judge.
fn speaks_inside(entered: &Entered, to: &Addressed, workload: &Workload, port: u16) -> bool {
    let forwarded = matches!(to, Addressed::Exported { .. });
    let arrival = entered.came.arrival().filter(|_| forwarded);
    arrival.is_some_and(|arrival| workload.port(port).vouchers.contains(&arrival.peer.identity))
}

/// The way to where a stream is for, under the snapshot of the moment.
fn way(waypoint: &Waypoint, entered: &Entered, to: &Addressed, avoid: &Avoid) -> Result<Way, Denial> {
    let world = waypoint.worlds.load();
    let chance = (waypoint.chance)();
    let to = match to {
        Addressed::Service(port) => match &port.pin {
            None => Destination::Service { service: port.service.clone(), port: port.port },
            Some(workload) => Destination::Endpoint {
                service: port.service.clone(),
                port: port.port,
                workload: workload.clone(),
            },
        },
        Addressed::Workload { workload, port } => {
            let found = world.snapshot.workload(workload).and_then(|workload| workload.addresses.first());
            let address = found.ok_or_else(|| {
                Denial::plain(Reason::UnknownDestination, format!("{workload} has no address"))
            })?;
            Destination::Address((*address, *port).into())
        }
        Addressed::Exported { host, port } => {
            let peer = entered.came.arrival().map(|arrival| arrival.peer.identity.trust_domain());
            let peer = peer.ok_or_else(|| {
                Denial::plain(Reason::NotExported, "nobody without an identity is forwarded")
            })?;
            let forward = hop::forward(&world.snapshot, &waypoint.own.uid, host, *port, peer, avoid, chance)?;
            return Ok(Way::forward(forward.address, host, *port, forward.chosen));
        }
    };
    let departure = Departure { source: waypoint.own.uid.clone(), to };
    let hop = hop::decide(&world.snapshot, &departure, avoid, chance)?;
    dial::way(&waypoint.own, &entered.caller, entered.source_address, hop)
}

fn upstream_of(way: &Way) -> Upstream {
    Upstream {
        service: way.chosen.service.as_ref().map(|(service, _)| service.clone()),
        workload: way.chosen.workload.uid.clone(),
        port: match way.chosen.at {
            At::Port(port, _) => port,
            At::Waypoint | At::Remote => way.chosen.service.as_ref().map_or(0, |(_, port)| *port),
        },
        identity: Some(way.chosen.workload.identity.clone()),
        address: way.authority.to_string(),
    }
}

fn status_of(denial: &Denial) -> RefusalStatus {
    match denial.reason {
        Reason::UnknownPort | Reason::UnknownDestination | Reason::Malformed => RefusalStatus::BadRequest,
        Reason::NotExported => RefusalStatus::Denied,
        _ => RefusalStatus::Unavailable,
    }
}

fn unreached(way: &Way, error: &DialError) -> (bool, Unreached) {
    if let DialError::Refused { status: 400 | 401 | 403, denied, .. } = error {
        let said = denied.as_deref().unwrap_or("without a reason");
        let text = format!("the node of {} refuses: {said}", way.chosen.workload.uid);
        return (false, (RefusalStatus::Denied, Denial::plain(Reason::Denied, text)));
    }
    let reason = match error.fault() {
        Fault::Ours => Reason::NoCertificate,
        Fault::Peer => Reason::HandshakeFailed,
        Fault::Unreachable | Fault::Refused => Reason::Unreachable,
    };
    (true, (RefusalStatus::Unavailable, Denial::plain(reason, with_causes(error))))
}
