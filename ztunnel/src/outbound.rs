//! A connection that a workload of this node opens: register, load, decide, dial, relay, report.

mod attempt;
pub(crate) mod config;
mod failure;

use std::sync::Arc;

use mesh::{
    Denial, Reason,
    admission::{self, TlsPeer},
    hop::{self, Avoid, Departure, Destination, Hop, Wanted},
    names::WorkloadUid,
    resource::{Egress, Workload},
    snapshot::Snapshot,
};
use tokio::time::timeout;
use transport::{
    Credentials as _, Stream,
    relay::{self, Options},
};
use wire::{Want, report::Refusal};

use crate::{
    connections::{Direction, Guard, Uses, View},
    node::Node,
    peer::{seconds, tls_peer},
    report::{Outcome, Party, Record},
};
use attempt::Attempt;
pub use config::Config;
use failure::Failure;

/// How often the control plane is asked for one connection: for a name, and for the address that it has.
const ASKS_MAX: u8 = 2;
/// Addresses of one name outside the mesh that are tried.
const ADDRESSES_MAX: usize = 4;

/// A connection that is made, and not relayed yet.
pub(crate) struct Made {
    stream: Stream,
    guard: Guard,
    record: Record,
}

/// A connection that was not made.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Refused here.
    Here(Arc<Refusal>),
    /// Refused at the other end, which said so.
    There {
        /// Its status.
        status: u16,
        /// What it said.
        denied: Arc<str>,
    },
}

/// Makes a connection for a workload of this node.
pub(crate) async fn make(node: &Node, source: &WorkloadUid, to: Destination) -> Result<Made, Failed> {
    let mut record = node.report.begin(Direction::Outbound, asked(&to), None);
    let failure = match node.world.load().snapshot.workload(source).cloned() {
        Some(workload) => {
            record.source = Party::of(&workload);
            match begin(node, &workload, to, &mut record).await {
                Ok((stream, guard)) => {
                    node.report.opened(&mut record, &guard.counts);
                    return Ok(Made { stream, guard, record });
                }
                Err(failure) => failure,
            }
        }
        None => Failure::Denied(Denial::plain(
            Reason::SourceUnknown,
            format!("the workload {source} is not held"),
        )),
    };
    match failure {
        Failure::Denied(denial) => {
            let refusal = node.report.refuse(&record, denial);
            node.report.ended(record, &Outcome::Refused(&refusal));
            Err(Failed::Here(refusal))
        }
        Failure::There { status, denied } => {
            node.report.ended(record, &Outcome::RefusedThere(&denied));
            Err(Failed::There { status, denied })
        }
    }
}

async fn begin(
    node: &Node,
    workload: &Arc<Workload>,
    to: Destination,
    record: &mut Record,
) -> Result<(Stream, Guard), Failure> {
    let view = View {
        direction: Direction::Outbound,
        workload: workload.uid.clone(),
        own: workload.identity.clone(),
        source: workload.identity.to_string(),
        destination: record.asked.to_string(),
        since: seconds((node.now)()),
    };
    // Registered before it is judged: a denial that arrives meanwhile finds it.
    let guard = node.connections.register(view).map_err(Failure::Denied)?;
    let closed = guard.closed().clone();
    let stream = tokio::select! {
        biased;
        () = closed.cancelled() => {
            let why = guard.why().unwrap_or_else(|| Denial::plain(Reason::NoLongerAllowed, "it was closed"));
            return Err(Failure::Denied(why));
        }
        stream = connect(node, &guard, &workload.uid, to, record) => stream?,
    };
    let own = own(node, workload);
    let peers: Vec<_> = own.into_iter().chain(stream.path().iter().map(|peer| tls_peer(peer))).collect();
    // Who is there is known only now; what changed while we dialled is looked at here.
    let source = workload.uid.clone();
    let plain = !record.mutual_tls;
    let judged = guard.decide(&node.world, |snapshot| Ok(((), uses(snapshot, &source, plain, &peers)?)));
    if let Err(denial) = judged {
        // A tunnel that was being opened while its peer was revoked came too late to be retired: nobody else gets it.
        let world = node.world.load();
        node.pool.retire_where(|_, peer| admission::believed(&world.snapshot, &tls_peer(peer)).is_err());
        return Err(Failure::Denied(denial));
    }
    Ok((stream, guard))
}

/// Decides and dials, on another endpoint when one cannot be reached, until there is a connection or no way left.
async fn connect(
    node: &Node,
    guard: &Guard,
    source: &WorkloadUid,
    to: Destination,
    record: &mut Record,
) -> Result<Stream, Failure> {
    let mut departures = vec![Departure { source: source.clone(), to }];
    let own: Vec<_> =
        node.world.load().snapshot.workload(source).and_then(|it| own(node, it)).into_iter().collect();
    let (mut avoid, mut asks, mut attempts) = (Avoid::default(), 0, 0);
    let mut last: Option<Failure> = None;
    loop {
        let Some(departure) = departures.last() else {
            // Every address was tried, and each left a failure.
            return Err(last.unwrap_or_else(|| Failure::Denied(nowhere())));
        };
        let chance = (node.chance)();
        let hop = guard.decide(&node.world, |snapshot| {
            let hop = hop::decide(snapshot, departure, &avoid, chance)?;
            let plain = matches!(hop, Hop::Direct { .. });
            Ok((hop, uses(snapshot, source, plain, &own)?))
        });
        let hop = match hop {
            Ok(hop) => hop,
            Err(denial) => {
                departures.pop();
                // Why the endpoint that was tried failed says more than that there is no other.
                last = Some(last.unwrap_or(Failure::Denied(denial)));
                continue;
            }
        };
        match hop {
            Hop::Ask(wanted) if asks < ASKS_MAX => {
                asks += 1;
                ask(node, &wanted).await.map_err(Failure::Denied)?;
                continue;
            }
            Hop::Ask(wanted) => return Err(Failure::Denied(hop::silent(&wanted))),
            Hop::Resolve { host, port } => {
                let found =
                    transport::dial::resolve(host.as_str(), port, node.outbound.resolve_timeout).await;
                let found = found.map_err(|error| {
                    Failure::Denied(Denial::plain(Reason::UnknownDestination, error.to_string()))
                })?;
                let to = |address| Departure { source: source.clone(), to: Destination::Address(address) };
                // The last one is tried first.
                departures = found.into_iter().take(ADDRESSES_MAX).rev().map(to).collect();
                continue;
            }
            Hop::Direct { .. } | Hop::Tunnel { .. } | Hop::ThroughGateway { .. } => {}
        }
        attempts += 1;
        let direct = matches!(hop, Hop::Direct { .. });
        match attempt::dial(node, source, &hop, record).await {
            Ok(stream) => return Ok(stream),
            Err(Attempt::Final(failure)) => return Err(*failure),
            Err(Attempt::Another(failure, avoided)) => {
                last = Some(*failure);
                if attempts >= node.outbound.attempts_max {
                    departures.clear();
                } else if direct {
                    departures.pop();
                } else {
                    avoided.add_to(&mut avoid);
                }
            }
        }
    }
}

fn nowhere() -> Denial {
    Denial::plain(Reason::UnknownDestination, "the name has no address")
}

/// Asks the control plane what names are, for a bounded time.
async fn ask(node: &Node, wanted: &[Wanted]) -> Result<(), Denial> {
    let wants = wanted.iter().map(|wanted| match wanted {
        Wanted::Address(address) => Want::Address(address.clone()),
        Wanted::Name(name) => Want::Name(name.clone()),
    });
    let answers = futures_util::future::try_join_all(wants.map(|want| node.on_demand.want(want)));
    match timeout(node.outbound.ask_timeout, answers).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Denial::plain(Reason::TooMuch, error.to_string())),
        Err(_) => Err(hop::silent(wanted)),
    }
}

/// The workload itself, as its certificate proves it now: a workload that was revoked reaches nothing.
fn own(node: &Node, workload: &Workload) -> Option<TlsPeer> {
    let credential = node.keeper.current(&workload.identity).ok()?;
    Some(tls_peer(credential.own()))
}

/// What an outbound connection depends on: that both ends are believed, and, in plaintext, that it may leave.
fn uses(snapshot: &Snapshot, source: &WorkloadUid, plain: bool, peers: &[TlsPeer]) -> Result<Uses, Denial> {
    let (of, proven) = (source.clone(), peers.to_vec());
    let again = move |snapshot: &Snapshot| {
        proven.iter().try_for_each(|peer| admission::believed(snapshot, peer))?;
        let egress = snapshot.workload(&of).map(|workload| workload.egress);
        if plain && egress == Some(Egress::Deny) {
            return Err(Denial::plain(
                Reason::EgressDenied,
                format!("{of} may reach nothing outside the mesh"),
            ));
        }
        // Who goes out is judged by the sets of the other end.
        Ok(Vec::new())
    };
    again(snapshot)?;
    let identities = peers.iter().map(|peer| peer.identity.clone()).collect();
    Ok(Uses { workloads: vec![source.clone()], sets: Vec::new(), identities, again: Arc::new(again) })
}

fn asked(to: &Destination) -> String {
    match to {
        Destination::Address(address) => address.to_string(),
        Destination::Name { host, port } => format!("{host}:{port}"),
        Destination::Service { service, port } | Destination::Endpoint { service, port, .. } => {
            format!("{}:{port}", service.hostname)
        }
    }
}

impl Made {
    /// Carries bytes between the application and what was dialled, until either ends or it is no longer allowed.
    pub(crate) async fn relay(self, node: &Node, application: Stream) {
        let Self { stream, guard, record } = self;
        let options = Options { idle_timeout: node.outbound.idle_timeout, counts: guard.counts.clone() };
        let relayed = relay::relay(application, stream, guard.closed(), &options).await;
        node.finish(&guard, record, &relayed);
    }

    /// The parts, for who relays in its own way; it ends with `finish`.
    pub(crate) fn into_parts(self) -> (Stream, Guard, Record) {
        (self.stream, self.guard, self.record)
    }
}
