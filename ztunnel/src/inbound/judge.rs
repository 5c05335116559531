//! Whether a stream may be delivered: admission, then access. Pure.

use std::{net::IpAddr, sync::Arc};

use mesh::{
    Caller, Denial, Facts, Reason,
    access::{self, Judgement, Verdict},
    admission::{self, Arrival, Entrance, Origin, TlsPeer},
    facts::Fact,
    hop::Authority,
    names::{ServiceKey, SetName, WorkloadUid},
    resource::{Admission, Workload},
    snapshot::Snapshot,
};
use transport::hbone::{self, Connect, OriginField};

use crate::{connections::Uses, peer::tls_peer};

/// Why facts above layer 4 are not there.
const NOT_READ: &str = "not read at layer 4";

/// What a stream asks for, and who asks.
#[derive(Debug, Clone)]
pub(super) struct Request {
    workload: WorkloadUid,
    authority: Authority,
    pub(super) peer: TlsPeer,
    origin: Origin,
    /// The address that it says it comes from.
    claimed: Option<IpAddr>,
    /// When it came, in seconds since the Unix epoch.
    began: u64,
}

/// A stream that may be delivered.
#[derive(Debug)]
pub(super) struct Granted {
    /// To this port of the workload.
    pub(super) port: u16,
    /// The service by which it was named.
    pub(super) service: Option<(ServiceKey, u16)>,
    /// For whom it speaks.
    pub(super) caller: Caller,
    /// The caller's workload, if it is held.
    pub(super) source: Option<Arc<Workload>>,
    /// What the policies said.
    pub(super) judgement: Judgement,
    /// True if the port admitted anyone.
    direct: bool,
}

impl Request {
    /// What a CONNECT says; nothing if its tunnel has no peer.
    pub(super) fn read(workload: &WorkloadUid, connect: &Connect, began: u64) -> Option<Self> {
        let authority = match &connect.authority {
            hbone::Authority::Address(address) => Authority::Address(*address),
            hbone::Authority::Name { host, port } => Authority::Name { host: host.clone(), port: *port },
        };
        let origin = match &connect.head.origin {
            OriginField::Absent => Origin::Absent,
            OriginField::One(hbone::Origin::Identity(identity)) => Origin::Identity(identity.clone()),
            OriginField::One(hbone::Origin::Unknown) => Origin::Unknown,
            OriginField::Malformed => Origin::Malformed,
            OriginField::Many(times) => Origin::Many(*times),
        };
        let claimed = connect.head.forwarded_for();
        let peer = tls_peer(connect.peer()?);
        Some(Self { workload: workload.clone(), authority, peer, origin, claimed, began })
    }
}

/// Decides, and says what that used.
pub(super) fn decide(snapshot: &Snapshot, request: &Request) -> Result<(Granted, Uses), Denial> {
    let granted = judge(snapshot, request, false)?;
    let mut identities = vec![request.peer.identity.clone()];
    identities.extend(granted.caller.workload.verified().cloned());
    let used = sets(snapshot, request, &granted);
    let (standing, request) = (granted.direct, request.clone());
    let workloads = vec![request.workload.clone()];
    let again = move |snapshot: &Snapshot| {
        let granted = judge(snapshot, &request, standing)?;
        Ok(sets(snapshot, &request, &granted))
    };
    Ok((granted, Uses { workloads, sets: used, identities, again: Arc::new(again) }))
}

/// The set of the port, by which it was judged.
fn sets(snapshot: &Snapshot, request: &Request, granted: &Granted) -> Vec<SetName> {
    let workload = snapshot.workload(&request.workload);
    workload.map(|it| it.port(granted.port).set.clone()).into_iter().collect()
}

/// For whom a request that was refused speaks, if it was admitted, and its workload: for the report.
pub(super) fn speaker(snapshot: &Snapshot, request: &Request) -> Option<(Caller, Option<Arc<Workload>>)> {
    let port = admission::addressed(snapshot, &request.workload, &request.authority).ok()?.port;
    let caller = admission::check(snapshot, &arrival(request, port)).ok()?;
    let source = source(snapshot, request, &caller);
    Some((caller, source))
}

fn arrival(request: &Request, port: u16) -> Arrival {
    Arrival {
        workload: request.workload.clone(),
        at: Entrance::Port(port),
        peer: request.peer.clone(),
        origin: request.origin.clone(),
    }
}

/// `standing`: it is open already, since before its port admitted only waypoints; it may stay, under rules of layer 4,
/// unless there are others.
fn judge(snapshot: &Snapshot, request: &Request, standing: bool) -> Result<Granted, Denial> {
    let addressed = admission::addressed(snapshot, &request.workload, &request.authority)?;
    let arrival = arrival(request, addressed.port);
    let workload = snapshot.workload(&request.workload).ok_or_else(|| {
        Denial::plain(Reason::UnknownDestination, format!("the workload {} is not held", request.workload))
    })?;
    let port = workload.port(addressed.port);
    let direct = port.admission == Admission::Direct;
    let (caller, whole) = match admission::check(snapshot, &arrival) {
        Err(denial)
            if standing
                && denial.reason == Reason::NotThroughWaypoint
                && access::is_layer_4(snapshot, &port.set) =>
        {
            (admission::check_standing(snapshot, &arrival)?, true)
        }
        checked => (checked?, direct),
    };
    if let (Some(_), Some(identity)) = (&caller.by, caller.workload.verified()) {
        // The voucher saw the caller's certificate, we did not; but it was not issued after the stream began.
        let vouched = TlsPeer { identity: identity.clone(), not_before: request.began };
        admission::believed(snapshot, &vouched)?;
    }
    let source = source(snapshot, request, &caller);
    let facts = Facts {
        source_address: admission::source_address(snapshot, workload, &caller, request.claimed),
        caller,
        port: addressed.port,
        http: Fact::Missing(NOT_READ),
        mcp: Fact::Missing(NOT_READ),
        a2a: Fact::Missing(NOT_READ),
        llm: Fact::Missing(NOT_READ),
        user: None,
    };
    let judgement = match whole {
        true => access::judge(snapshot, &port.set, &facts),
        false => access::judge_through(snapshot, &port.set, &facts),
    };
    match &judgement.verdict {
        Verdict::Granted(_) => {}
        Verdict::Refused(denial) => return Err(denial.clone()),
        // Only a waypoint can ask.
        Verdict::Conditional(..) => {
            let why = "an external authorizer must be asked, which needs a waypoint";
            return Err(Denial::plain(Reason::ExternalFailed, why));
        }
    }
    let (port, service) = (addressed.port, addressed.service);
    Ok(Granted { port, service, caller: facts.caller, source, judgement, direct })
}

/// The workload that has the claimed address, if it has the caller's identity too.
fn source(snapshot: &Snapshot, request: &Request, caller: &Caller) -> Option<Arc<Workload>> {
    let network = &snapshot.workload(&request.workload)?.network;
    let owner = snapshot.workload_at(network, request.claimed?)?;
    (Some(&owner.identity) == caller.workload.verified()).then(|| owner.clone())
}
