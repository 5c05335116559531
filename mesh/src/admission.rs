//! Decides, at the destination, whether a peer may connect at all, and for whom it speaks.
//!
//! Pure. The peer was verified against the bundle of its own trust domain before; what it may then do is
//! for `access`.

use std::sync::Arc;

use crate::{
    denial::{Denial, Reason},
    facts::{Caller, Peer},
    hop::{Authority, OWN_PORTS},
    identity::Identity,
    names::{Hostname, ServiceKey, WorkloadUid},
    resource::{Admission, Workload},
    snapshot::Snapshot,
};

/// The other end of a tunnel, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPeer {
    /// Who it is.
    pub identity: Identity,
    /// `notBefore` of its certificate, in seconds since the Unix epoch.
    pub not_before: u64,
}

/// For whom a CONNECT says that it speaks (`x-strait-origin`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It does not say.
    Absent,
    /// For this workload.
    Identity(Identity),
    /// For somebody without identity.
    Unknown,
    /// It says what cannot be read.
    Malformed,
    /// It says it so many times.
    Many(usize),
}

/// A stream that arrived in a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The workload at whose listener it arrived.
    pub workload: WorkloadUid,
    /// What it wants there.
    pub at: Entrance,
    /// Who opened the tunnel.
    pub peer: TlsPeer,
    /// For whom it speaks.
    pub origin: Origin,
}

/// What an arrival wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// A port of the workload.
    Port(u16),
    /// The workload as a waypoint or gateway.
    Waypoint,
}

/// A port of a local workload, as a CONNECT named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// The workload's port.
    pub port: u16,
    /// The service by which it was named, if it was one.
    pub service: Option<(ServiceKey, u16)>,
}

/// Finds the port that a CONNECT names at the listener of a workload: by one of its addresses, or by a service
/// that it serves.
///
/// # Errors
/// When it names what is not registered there.
pub fn addressed(
    snapshot: &Snapshot,
    workload: &WorkloadUid,
    authority: &Authority,
) -> Result<Addressed, Denial> {
    let workload = held(snapshot, workload)?;
    let addressed = match authority {
        Authority::Address(address) => {
            let ip = address.ip().to_canonical();
            if !workload.addresses.iter().any(|own| own.to_canonical() == ip) {
                return Err(not_here(authority));
            }
            Addressed { port: address.port(), service: None }
        }
        Authority::Name { host, port } => {
            by_service(snapshot, workload, host, *port).ok_or_else(|| not_here(authority))?
        }
    };
    match addressed.port {
        0 => Err(Denial::plain(Reason::UnknownPort, "there is no port 0")),
        port if OWN_PORTS.contains(&port) => {
            Err(Denial::plain(Reason::Loop, format!("port {port} is one of our own")))
        }
        _ => Ok(addressed),
    }
}

fn not_here(authority: &Authority) -> Denial {
    Denial::plain(Reason::UnknownDestination, format!("{authority} is not registered here"))
}

fn by_service(snapshot: &Snapshot, workload: &Workload, host: &Hostname, port: u16) -> Option<Addressed> {
    workload.services.iter().find_map(|(key, mappings)| {
        let service = snapshot.service(&key.parse().ok()?)?;
        if service.key.hostname != *host && !service.aliases.contains(host) {
            return None;
        }
        let mapping = mappings.iter().find(|mapping| mapping.service == port)?;
        Some(Addressed { port: mapping.target, service: Some((service.key.clone(), port)) })
    })
}

fn held<'a>(snapshot: &'a Snapshot, uid: &WorkloadUid) -> Result<&'a Arc<Workload>, Denial> {
    snapshot
        .workload(uid)
        .ok_or_else(|| Denial::plain(Reason::UnknownDestination, format!("the workload {uid} is not held")))
}

/// Decides whether an arrival is admitted, and for whom it speaks.
///
/// # Errors
/// When it is not admitted.
pub fn check(snapshot: &Snapshot, arrival: &Arrival) -> Result<Caller, Denial> {
    let workload = held(snapshot, &arrival.workload)?;
    believed(snapshot, &arrival.peer)?;
    let peer = &arrival.peer.identity;
    let vouchers = match arrival.at {
        Entrance::Waypoint => &workload.vouchers,
        Entrance::Port(port) => {
            let port = workload.port(port);
            if let Admission::Through { waypoints, .. } = &port.admission
                && !waypoints.contains(peer)
            {
                return Err(Denial::plain(
                    Reason::NotThroughWaypoint,
                    format!("only its waypoints may connect here, and {peer} is none of them"),
                ));
            }
            &port.vouchers
        }
    };
    if vouchers.contains(peer) {
        let origin = vouched(snapshot, workload, peer, &arrival.origin)?;
        return Ok(Caller { workload: origin, by: Some(peer.clone()) });
    }
    match &arrival.origin {
        Origin::Absent => Ok(Caller { workload: Peer::Verified(peer.clone()), by: None }),
        _ => Err(Denial::plain(
            Reason::OriginForbidden,
            format!("{peer} may not say that it speaks for somebody else"),
        )),
    }
}

/// For whom a voucher speaks: of our own trust domain for anyone whose trust domain is linked, of another only
/// for identities of its own.
fn vouched(
    snapshot: &Snapshot,
    workload: &Workload,
    voucher: &Identity,
    origin: &Origin,
) -> Result<Peer, Denial> {
    let identity = match origin {
        Origin::Identity(identity) => identity,
        Origin::Unknown => return Ok(Peer::Unknown),
        Origin::Absent => {
            return Err(Denial::plain(
                Reason::OriginMissing,
                format!("{voucher} did not say for whom it speaks"),
            ));
        }
        Origin::Malformed => {
            return Err(Denial::plain(
                Reason::OriginMalformed,
                format!("{voucher} speaks for what is no identity"),
            ));
        }
        Origin::Many(times) => {
            return Err(Denial::plain(
                Reason::OriginMalformed,
                format!("{voucher} said {times} times for whom it speaks"),
            ));
        }
    };
    let ours = workload.identity.trust_domain();
    let vouchable = match voucher.trust_domain() == ours {
        true => identity.trust_domain() == ours || snapshot.bundle(identity.trust_domain()).is_some(),
        false => identity.trust_domain() == voucher.trust_domain(),
    };
    if !vouchable {
        return Err(Denial::plain(
            Reason::OriginNotVouchable,
            format!("{voucher} may not speak for {identity}"),
        ));
    }
    Ok(Peer::Verified(identity.clone()))
}

/// Decides whether a certificate of an identity is still believed: its trust domain is known, and it was not
/// revoked after it was issued.
///
/// # Errors
/// When it is not believed.
pub fn believed(snapshot: &Snapshot, peer: &TlsPeer) -> Result<(), Denial> {
    let trust_domain = peer.identity.trust_domain();
    if snapshot.bundle(trust_domain).is_none() {
        return Err(Denial::plain(
            Reason::TrustDomainUnknown,
            format!("no trust bundle of {trust_domain} is held"),
        ));
    }
    match snapshot.revocation(&peer.identity) {
        Some(revocation) if peer.not_before < revocation.issued_before => Err(Denial::plain(
            Reason::Revoked,
            format!(
                "certificates of {} issued before {} are revoked",
                peer.identity, revocation.issued_before
            ),
        )),
        _ => Ok(()),
    }
}
