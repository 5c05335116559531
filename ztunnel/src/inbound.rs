//! A stream that arrives in a tunnel for a workload of this node: terminate, admit, judge, deliver, relay, report.

pub(crate) mod config;
mod deliver;
mod judge;

use std::sync::Arc;

use mesh::{
    Caller, Denial, Reason,
    names::{ServiceKey, WorkloadUid},
    resource::Workload,
};
use transport::{
    Socket,
    hbone::{Connect, RefusalStatus, ResponseHead, Terminated},
    relay::{self, Options},
};

use crate::{
    connections::{Direction, View},
    node::Node,
    peer::seconds,
    report::{Outcome, Party, Record, denied},
};
pub use config::Config;
use judge::{Granted, Request};

/// Serves a connection at a workload's tunnel address until it ends.
pub(crate) async fn serve(node: Arc<Node>, workload: WorkloadUid, socket: Socket) {
    let Some(identity) = node.world.load().snapshot.workload(&workload).map(|it| it.identity.clone()) else {
        return;
    };
    let credential = match node.credential(&identity).await {
        Ok(credential) => credential,
        Err(denial) => {
            broken(&node, &workload, denial);
            return socket.reset();
        }
    };
    match transport::hbone::accept(socket, &credential, &node.inbound.limits).await {
        Ok(tunnel) => streams(&node, &workload, tunnel).await,
        Err(error) => broken(&node, &workload, Denial::plain(Reason::HandshakeFailed, error.to_string())),
    }
}

/// A connection that did not become a tunnel proves nobody: it is counted and said, and not kept, so that strangers
/// cannot push out what was refused to others.
fn broken(node: &Node, workload: &WorkloadUid, denial: Denial) {
    let mut record = node.report.begin(Direction::Inbound, workload.as_str(), None);
    record.destination.workload = node.world.load().snapshot.workload(workload).cloned();
    node.report.ended(record, &Outcome::Broken(&denial));
}

/// Drives a tunnel; its streams are served beside it.
async fn streams(node: &Arc<Node>, workload: &WorkloadUid, mut tunnel: Terminated) {
    node.tunnels.register(tunnel.handle());
    let address = tunnel.peer_address();
    while let Some(connect) = tunnel.next().await {
        let (node, workload) = (node.clone(), workload.clone());
        let guard = node.drain.guard();
        tokio::spawn(async move {
            let (asked, trace) = (connect.authority.to_string(), connect.head.trace.as_deref());
            let mut record = node.report.begin(Direction::Inbound, asked, trace);
            record.tunnel = address;
            stream(&node, &workload, connect, record).await;
            drop(guard);
        });
    }
}

/// Serves one stream.
async fn stream(node: &Node, workload: &WorkloadUid, mut connect: Connect, mut record: Record) {
    let Some(request) = Request::read(workload, &connect, seconds((node.now)())) else {
        // A tunnel always has a peer; without one there is nobody to serve.
        return connect.refuse(RefusalStatus::BadRequest, None);
    };
    record.source.identity = Some(request.peer.identity.clone());
    let held = node.world.load();
    record.destination.workload = held.snapshot.workload(workload).cloned();
    drop(held);
    let Some(own) = record.destination.workload.as_ref().map(|it| it.identity.clone()) else {
        return connect.refuse(RefusalStatus::Unavailable, None);
    };
    let view = View {
        direction: Direction::Inbound,
        workload: workload.clone(),
        own: own.clone(),
        source: request.peer.identity.to_string(),
        destination: record.asked.to_string(),
        since: seconds((node.now)()),
    };
    record.destination.identity = Some(own);
    // Registered before it is judged: a denial that arrives meanwhile finds it.
    let guard = match node.connections.register(view) {
        Ok(guard) => guard,
        Err(denial) => return refuse(node, record, connect, denial),
    };
    let granted = match guard.decide(&node.world, |snapshot| judge::decide(snapshot, &request)) {
        Ok(granted) => granted,
        Err(denial) => {
            if let Some((caller, source)) = judge::speaker(&node.world.load().snapshot, &request) {
                speaks(&mut record, &caller, source);
            }
            return refuse(node, record, connect, denial);
        }
    };
    describe(&mut record, &granted);
    guard.describe(&granted.caller.workload, &record.asked);
    node.report.judged(&record, &granted.judgement);
    let delivered = tokio::select! {
        biased;
        () = guard.closed().cancelled() => {
            let why = guard.why().unwrap_or_else(|| Denial::plain(Reason::NoLongerAllowed, "it was closed"));
            return refuse(node, record, connect, why);
        }
        () = connect.withdrawn() => return node.report.ended(record, &Outcome::Gone),
        delivered = deliver::deliver(node, workload, granted.port) => delivered,
    };
    let application = match delivered {
        Ok(application) => application,
        Err(denial) => return refuse(node, record, connect, denial),
    };
    let baggage = record.destination.workload.as_ref().map(|it| crate::say::baggage(it));
    let Ok(stream) = connect.accept(ResponseHead { baggage }) else {
        return node.report.ended(record, &Outcome::Gone);
    };
    node.report.opened(&mut record, &guard.counts);
    let options = Options { idle_timeout: node.inbound.idle_timeout, counts: guard.counts.clone() };
    let relayed = relay::relay(stream, application, guard.closed(), &options).await;
    node.finish(&guard, record, &relayed);
}

fn describe(record: &mut Record, granted: &Granted) {
    speaks(record, &granted.caller, granted.source.clone());
    record.service =
        granted.service.clone().or_else(|| served(record.destination.workload.as_deref()?, granted.port));
}

fn speaks(record: &mut Record, caller: &Caller, source: Option<Arc<Workload>>) {
    record.source = Party { workload: source, identity: caller.workload.verified().cloned() };
    record.by.clone_from(&caller.by);
}

/// The first service that leads to a port, for a stream that named the workload itself.
fn served(workload: &Workload, port: u16) -> Option<(ServiceKey, u16)> {
    workload.services.iter().find_map(|(key, mappings)| {
        let mapping = mappings.iter().find(|mapping| mapping.target == port)?;
        Some((key.parse().ok()?, mapping.service))
    })
}

fn refuse(node: &Node, record: Record, connect: Connect, denial: Denial) {
    let status = status(denial.reason);
    let refusal = node.report.refuse(&record, denial);
    connect.refuse(status, Some(&denied(&refusal)));
    node.report.ended(record, &Outcome::Refused(&refusal));
}

/// As Istio's: 401 for policy, 400 for what is not for this listener, 503 for what cannot be served now.
fn status(reason: Reason) -> RefusalStatus {
    match reason {
        Reason::UnknownDestination
        | Reason::UnknownPort
        | Reason::Loop
        | Reason::Malformed
        | Reason::OriginMissing
        | Reason::OriginForbidden
        | Reason::OriginMalformed => RefusalStatus::BadRequest,
        Reason::DeliveryFailed | Reason::TooMuch | Reason::Draining | Reason::NotBuilt => {
            RefusalStatus::Unavailable
        }
        _ => RefusalStatus::Denied,
    }
}
