//! Accepts tunnels, and leads each stream in them to where it is served.

use std::sync::Arc;

use mesh::{Denial, Reason, facts::Fact, resource::Protocol};
use runtime::{DrainWatch, Entry, TraceContext};
use tokio::sync::Semaphore;
use transport::{
    Credentials, Listener, Socket,
    drain::Tunnels,
    hbone::{self, Connect, Limits, RefusalStatus, ResponseHead},
};

use crate::{
    entrance::{Addressed, Entered, Front, enter},
    http, relay,
    report::Carrier,
    waypoint::Waypoint,
};

/// Tunnels that are open at once; a further connection is closed.
pub const TUNNELS_MAX: usize = 8192;

/// Accepts connections until the drain begins.
pub async fn accept(
    waypoint: Arc<Waypoint>,
    listener: Arc<Listener>,
    credentials: Arc<dyn Credentials>,
    limits: Limits,
    tunnels: Tunnels,
    drain: DrainWatch,
) {
    let room = Arc::new(Semaphore::new(TUNNELS_MAX));
    let streams = Arc::new(Semaphore::new(waypoint.limits.streams));
    let mut watch = drain.clone();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!(%error, address = %listener.address(), "the listener failed");
                    return;
                }
            },
            () = watch.draining() => return,
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (waypoint, credentials, limits) =
            (Arc::clone(&waypoint), Arc::clone(&credentials), limits.clone());
        let (tunnels, drain, streams) = (tunnels.clone(), drain.clone(), Arc::clone(&streams));
        tokio::spawn(async move {
            tunnel(&waypoint, socket, &*credentials, &limits, &tunnels, &drain, &streams).await;
            drop(permit);
        });
    }
}

async fn tunnel(
    waypoint: &Arc<Waypoint>,
    socket: Socket,
    credentials: &dyn Credentials,
    limits: &Limits,
    tunnels: &Tunnels,
    drain: &DrainWatch,
    streams: &Arc<Semaphore>,
) {
    let credential = match credentials.current(&waypoint.own.identity) {
        Ok(credential) => credential,
        Err(error) => {
            tracing::warn!(%error, "a connection is refused: there is no certificate to serve it with");
            return socket.reset();
        }
    };
    let from = socket.peer_address();
    let mut terminated = match hbone::accept(socket, &credential, limits).await {
        Ok(terminated) => terminated,
        Err(error) => {
            let error = crate::causes::with_causes(&error);
            tracing::info!(%error, ?from, "a connection did not become a tunnel");
            waypoint.report.decisions.handshake_failed();
            return;
        }
    };
    tunnels.register(terminated.handle());
    let mut closing = drain.clone();
    let mut severed = waypoint.connections.severed();
    loop {
        let connect = tokio::select! {
            connect = terminated.next() => connect,
            // What is left is cut.
            () = closing.closing() => return,
            _ = severed.changed() => return,
        };
        let Some(connect) = connect else { return };
        let Ok(permit) = Arc::clone(streams).try_acquire_owned() else {
            connect.refuse(RefusalStatus::Unavailable, None);
            continue;
        };
        let (waypoint, drain) = (Arc::clone(waypoint), drain.clone());
        tokio::spawn(async move {
            let _guard = drain.guard();
            stream(waypoint, connect, drain).await;
            drop(permit);
        });
    }
}

/// Leads one stream to where it is served.
async fn stream(waypoint: Arc<Waypoint>, connect: Connect, mut drain: DrainWatch) {
    let (mut entered, to) = match entered(&waypoint, &connect) {
        Ok(entered) => entered,
        Err(denial) => return refuse(&waypoint, connect, &denial),
    };
    match to {
        Addressed::Service(port) if port.protocol != Protocol::Tcp => {
            // Open as long as requests come in it.
            let carrier = Carrier::inbound(&waypoint.report.spans, &entered, &port, trace_of(&connect));
            entered.carrier = Some(carrier.link());
            let front = Arc::new(Front::Service(port));
            let stream = match connect.accept(ResponseHead::default()) {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a stream ended before it was accepted");
                    return;
                }
            };
            let draining = async move { drain.draining().await };
            http::serve(waypoint, Arc::new(entered), front, stream, draining).await;
        }
        Addressed::Service(_) | Addressed::Workload { .. } | Addressed::Exported { .. } => {
            let trace = trace_of(&connect);
            relay::serve(&waypoint, &entered, &to, trace.as_ref(), connect).await;
        }
    }
}

/// The place in the trace of the hop before, as it says it.
fn trace_of(connect: &Connect) -> Option<TraceContext> {
    connect.head.trace.as_deref().and_then(TraceContext::parse)
}

fn entered(waypoint: &Waypoint, connect: &Connect) -> Result<(Entered, Addressed), Denial> {
    let peer =
        connect.peer().ok_or_else(|| Denial::plain(Reason::HandshakeFailed, "the peer is not proven"))?;
    let head = &connect.head;
    let world = waypoint.worlds.load();
    enter(&world.snapshot, &waypoint.own, peer, &head.origin, head.forwarded_for(), &connect.authority)
}

fn refuse(waypoint: &Waypoint, connect: Connect, denial: &Denial) {
    let workload =
        connect.peer().map_or(mesh::Peer::Unknown, |peer| mesh::Peer::Verified(peer.identity.clone()));
    let facts = mesh::Facts {
        caller: mesh::Caller { workload, by: None },
        source_address: None,
        port: match &connect.authority {
            hbone::Authority::Address(address) => address.port(),
            hbone::Authority::Name { port, .. } => *port,
        },
        http: Fact::Missing("the stream was refused"),
        mcp: Fact::Missing("the stream was refused"),
        a2a: Fact::Missing("the stream was refused"),
        llm: Fact::Missing("the stream was refused"),
        user: None,
    };
    let id = waypoint.register.refused(denial, &facts, &exchange::Trail::default());
    let status = match denial.reason {
        Reason::UnknownDestination | Reason::UnknownPort | Reason::Malformed | Reason::OriginMalformed => {
            RefusalStatus::BadRequest
        }
        Reason::WaypointMissing | Reason::Draining | Reason::NoEndpoint => RefusalStatus::Unavailable,
        _ => RefusalStatus::Denied,
    };
    if let Some(log) = &waypoint.report.log {
        let entry = Entry::new((waypoint.now)(), "connection")
            .field("reporter", "waypoint")
            .field("source", &facts.caller.workload)
            .field("authority", &connect.authority)
            .field("refusal", &id)
            .field("reason", denial.reason)
            .field("denial", denial)
            .maybe("trace_id", trace_of(&connect).map(|trace| trace.trace));
        log.write(entry);
    }
    connect.refuse(status, Some(&format!("id={id}; reason={}", denial.reason)));
}
