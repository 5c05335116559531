//! Decides, at the destination, whether a peer may connect at all, and for whom it speaks.
//!
//! Pure. The peer was verified against the bundle of its own trust domain before; what it may then do is
//! for `access`.

use std::{net::IpAddr, sync::Arc};

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
    if let Entrance::Port(port) = arrival.at
        && let Admission::Through { waypoints, .. } = &held(snapshot, &arrival.workload)?.port(port).admission
        && !waypoints.contains(&arrival.peer.identity)
    {
        believed(snapshot, &arrival.peer)?;
        return Err(Denial::plain(
            Reason::NotThroughWaypoint,
            format!("only its waypoints may connect here, and {} is none of them", arrival.peer.identity),
        ));
    }
    check_standing(snapshot, arrival)
}

/// As [`check`], for a connection that was admitted before its port turned to admit only waypoints: it may stay,
/// if no rule that reads layer 7 applies to it ([`crate::access::is_layer_4`]).
///
/// # Errors
/// When it would not be admitted even so.
pub fn check_standing(snapshot: &Snapshot, arrival: &Arrival) -> Result<Caller, Denial> {
    let workload = held(snapshot, &arrival.workload)?;
    believed(snapshot, &arrival.peer)?;
    let peer = &arrival.peer.identity;
    let vouchers = match arrival.at {
        Entrance::Waypoint => &workload.vouchers,
        Entrance::Port(port) => &workload.port(port).vouchers,
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

/// The source address that a judgement at a workload may read of one that was claimed (`forwarded`).
///
/// It is the word of a node or waypoint of our own trust domain, which are trusted for what they carry; of others it is
/// nothing. It does not count where the address is known to be somebody else's. What does not count is unknown, which
/// a Deny on addresses matches and an Allow does not.
pub fn source_address(
    snapshot: &Snapshot,
    here: &Workload,
    caller: &Caller,
    claimed: Option<IpAddr>,
) -> Option<IpAddr> {
    let claimed = claimed?;
    let teller = caller.by.as_ref().or(caller.workload.verified())?;
    let ours = teller.trust_domain() == here.identity.trust_domain();
    let owner = snapshot.workload_at(&here.network, claimed).map(|owner| &owner.identity);
    let free = owner.is_none() || owner == caller.workload.verified();
    (ours && free).then_some(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::*,
        resource::{Resource, Revocation, WorkloadPort},
    };

    const SERVICE: &str = "shop/tools.shop.svc.cluster.local";

    /// `tools` admits anyone at 80, with the gateway as a voucher, and at 8080 only the waypoint.
    fn world() -> Snapshot {
        let gateway = || identity("shop/gateway");
        let waypoint = || identity("shop/waypoint");
        let western = || identity("spiffe://west.example/ns/shop/sa/waypoint");
        let through = Admission::Through { waypoints: vec![waypoint()], dial: None };
        let ports = [
            (80, WorkloadPort { vouchers: vec![gateway(), western()], ..direct("open") }),
            (8080, WorkloadPort { admission: through, vouchers: vec![waypoint()], set: "open".into() }),
        ];
        let tools = Workload { ports: ports.into(), ..workload("tools", 11).serving(SERVICE, 90, 80) };
        let entrance = Workload { vouchers: vec![gateway()], ..workload("waypoint", 20) };
        let revocation =
            Revocation { identity: identity("shop/lost"), issued_before: 1000, reason: "stolen".into() };
        snapshot([
            Resource::from(tools),
            entrance.into(),
            service(SERVICE, 1, 90).into(),
            bundle("east.example").into(),
            bundle("west.example").into(),
            revocation.into(),
        ])
    }

    fn admit(to: &str, at: Entrance, peer: &str, not_before: u64, origin: Origin) -> Result<Caller, Reason> {
        let peer = TlsPeer { identity: identity(peer), not_before };
        check(&world(), &Arrival { workload: uid(to), at, peer, origin }).map_err(|denial| denial.reason)
    }

    fn who(text: &str) -> Origin {
        Origin::Identity(identity(text))
    }

    fn itself(peer: &str) -> Result<Caller, Reason> {
        Ok(Caller { workload: verified(peer), by: None })
    }

    fn vouched(origin: Peer, by: &str) -> Result<Caller, Reason> {
        Ok(Caller { workload: origin, by: Some(identity(by)) })
    }

    #[test]
    fn a_peer_is_itself_and_only_vouchers_speak_for_others() {
        let west = "spiffe://west.example/ns/shop/sa/waypoint";
        let friend = "spiffe://west.example/ns/agents/sa/planner";
        let stranger = "spiffe://north.example/ns/agents/sa/planner";
        let port = Entrance::Port(80);
        for (peer, origin, expected) in [
            ("shop/planner", Origin::Absent, itself("shop/planner")),
            ("shop/planner", who("shop/other"), Err(Reason::OriginForbidden)),
            ("shop/planner", who("shop/planner"), Err(Reason::OriginForbidden)),
            ("shop/planner", Origin::Unknown, Err(Reason::OriginForbidden)),
            ("shop/planner", Origin::Malformed, Err(Reason::OriginForbidden)),
            ("shop/planner", Origin::Many(2), Err(Reason::OriginForbidden)),
            ("shop/gateway", Origin::Absent, Err(Reason::OriginMissing)),
            ("shop/gateway", Origin::Malformed, Err(Reason::OriginMalformed)),
            ("shop/gateway", Origin::Many(2), Err(Reason::OriginMalformed)),
            ("shop/gateway", Origin::Unknown, vouched(Peer::Unknown, "shop/gateway")),
            ("shop/gateway", who("shop/planner"), vouched(verified("shop/planner"), "shop/gateway")),
            ("shop/gateway", who(friend), vouched(verified(friend), "shop/gateway")),
            ("shop/gateway", who(stranger), Err(Reason::OriginNotVouchable)),
            (west, who(friend), vouched(verified(friend), west)),
            (west, who("shop/planner"), Err(Reason::OriginNotVouchable)),
            (friend, Origin::Absent, itself(friend)),
            (stranger, Origin::Absent, Err(Reason::TrustDomainUnknown)),
        ] {
            assert_eq!(admit("tools", port, peer, 0, origin.clone()), expected, "{peer} {origin:?}");
        }
    }

    #[test]
    fn a_waypoint_cannot_be_bypassed() {
        let port = Entrance::Port(8080);
        assert_eq!(admit("tools", port, "shop/planner", 0, Origin::Absent), Err(Reason::NotThroughWaypoint));
        assert_eq!(admit("tools", port, "shop/gateway", 0, who("shop/a")), Err(Reason::NotThroughWaypoint));
        assert_eq!(admit("tools", port, "shop/waypoint", 0, Origin::Absent), Err(Reason::OriginMissing));
        let by = vouched(verified("shop/planner"), "shop/waypoint");
        assert_eq!(admit("tools", port, "shop/waypoint", 0, who("shop/planner")), by);
        // A voucher of one port is none of another.
        let elsewhere = admit("tools", Entrance::Port(80), "shop/waypoint", 0, who("shop/planner"));
        assert_eq!(elsewhere, Err(Reason::OriginForbidden));
    }

    #[test]
    fn a_waypoint_has_vouchers_of_its_own() {
        let at = Entrance::Waypoint;
        assert_eq!(admit("waypoint", at, "shop/planner", 0, Origin::Absent), itself("shop/planner"));
        let by = vouched(verified("shop/planner"), "shop/gateway");
        assert_eq!(admit("waypoint", at, "shop/gateway", 0, who("shop/planner")), by);
        assert_eq!(admit("nobody", at, "shop/planner", 0, Origin::Absent), Err(Reason::UnknownDestination));
    }

    #[test]
    fn a_newer_certificate_of_a_revoked_identity_is_good() {
        let admit = |not_before| admit("tools", Entrance::Port(80), "shop/lost", not_before, Origin::Absent);
        assert_eq!(admit(999), Err(Reason::Revoked));
        assert_eq!(admit(1000), itself("shop/lost"));
    }

    #[test]
    fn a_connect_names_what_is_registered_here() {
        let at = |text: &str| {
            let authority = match text.parse() {
                Ok(address) => Authority::Address(address),
                Err(_) => Authority::Name { host: text.into(), port: 90 },
            };
            addressed(&world(), &uid("tools"), &authority).map(|it| it.port).map_err(|it| it.reason)
        };
        for (text, expected) in [
            ("10.20.0.11:80", Ok(80)),
            ("[::ffff:10.20.0.11]:80", Ok(80)),
            ("10.20.0.12:80", Err(Reason::UnknownDestination)),
            ("10.20.255.1:90", Err(Reason::UnknownDestination)),
            ("127.0.0.1:80", Err(Reason::UnknownDestination)),
            ("10.20.0.11:15008", Err(Reason::Loop)),
            ("10.20.0.11:0", Err(Reason::UnknownPort)),
            ("tools.shop.svc.cluster.local", Ok(80)),
            ("other.shop.svc.cluster.local", Err(Reason::UnknownDestination)),
        ] {
            assert_eq!(at(text), expected, "{text}");
        }
    }

    #[test]
    fn a_claimed_address_is_the_word_of_our_own_about_what_nobody_else_owns() {
        let snapshot = world();
        let tools = snapshot.workload(&uid("tools")).expect("it is held").clone();
        let address = tools.addresses[0];
        let free: IpAddr = "10.99.0.1".parse().expect("an address");
        let caller = |who: &str, by: Option<&str>| Caller { workload: verified(who), by: by.map(identity) };
        let friend = "spiffe://west.example/ns/agents/sa/planner";
        for (caller, claimed, expected) in [
            (caller("shop/tools", None), Some(address), Some(address)),
            (caller("shop/planner", None), Some(address), None),
            (caller("shop/planner", None), Some(free), Some(free)),
            (caller(friend, None), Some(free), None),
            (caller(friend, Some("shop/gateway")), Some(free), Some(free)),
            (caller(friend, Some("spiffe://west.example/ns/shop/sa/waypoint")), Some(free), None),
            (Caller { workload: Peer::Unknown, by: None }, Some(free), None),
            (caller("shop/planner", Some("shop/gateway")), Some(address), None),
            (caller("shop/tools", None), None, None),
        ] {
            assert_eq!(
                source_address(&snapshot, &tools, &caller, claimed),
                expected,
                "{caller:?} {claimed:?}"
            );
        }
    }
}
