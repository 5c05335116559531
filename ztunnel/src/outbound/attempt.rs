//! One attempt at a hop, and whether another endpoint is worth a try when it fails.
//!
//! No byte of the application was sent before a connection stands, so trying again does nothing twice.

use std::{net::SocketAddr, sync::Arc};

use mesh::{
    Denial, Reason,
    hop::{Avoid, Chosen, Hop},
    names::WorkloadUid,
};
use transport::{
    Address, Credential, Expected, Stream,
    dial::{DialError, Fault, Target, dial as dial_plain},
    pool::{Destination, Inner},
};

use super::failure::Failure;
use crate::{
    node::Node,
    report::{Party, Record},
};

/// The status with which policy refuses.
const DENIED: u16 = 401;

/// Why an attempt failed.
pub(super) enum Attempt {
    /// No other endpoint would do better.
    Final(Box<Failure>),
    /// Another one may.
    Another(Box<Failure>, Avoided),
}

impl Attempt {
    fn last(failure: Failure) -> Self {
        Self::Final(Box::new(failure))
    }

    fn another(failure: Failure, avoided: Avoided) -> Self {
        Self::Another(Box::new(failure), avoided)
    }
}

/// What not to try again.
pub(super) enum Avoided {
    Workload(WorkloadUid),
    Gateway(SocketAddr),
    /// The same way leads to several: chance may choose another.
    Nothing,
}

impl Avoided {
    pub(super) fn add_to(self, avoid: &mut Avoid) {
        match self {
            Self::Workload(workload) => avoid.workloads.push(workload),
            Self::Gateway(gateway) => avoid.gateways.push(gateway),
            Self::Nothing => {}
        }
    }
}

/// Carries out a hop.
pub(super) async fn dial(
    node: &Node,
    source: &WorkloadUid,
    hop: &Hop,
    record: &mut Record,
) -> Result<Stream, Attempt> {
    match hop {
        Hop::Direct { address } => {
            record.mutual_tls = false;
            let timeout = node.outbound.connect_timeout;
            let target = Target { address: Address::Tcp(*address), from: None, timeout };
            match dial_plain(&target).await {
                Ok(socket) => Ok(socket.into()),
                Err(error) => Err(Attempt::another(Failure::Denied(denial(&error)), Avoided::Nothing)),
            }
        }
        Hop::Tunnel { address, peers, authority, chosen } => {
            describe(record, chosen, *address);
            let credential = credential(node, source).await?;
            let request = request(node, source, authority, record)?;
            let expected = Expected::new(peers.iter().cloned());
            let to = Destination { source: source.clone(), address: *address, peers: expected };
            let made = node.pool.connect(&to, &credential, request).await;
            made.map_err(|error| judge(&error, Avoided::Workload(chosen.workload.uid.clone())))
        }
        Hop::ThroughGateway { gateway, authority, peers, capacity, chosen } => {
            describe(record, chosen, gateway.address);
            let credential = credential(node, source).await?;
            let outer = request(node, source, authority, record)?;
            let network = node.world.load().snapshot.workload(source).map(|it| it.network.clone());
            let inner_request = transport::hbone::ConnectRequest { network, ..outer.clone() };
            let expected = Expected::from(gateway.identity.clone());
            let to = Destination { source: source.clone(), address: gateway.address, peers: expected };
            let service = outer.authority.clone();
            let peers = Expected::new(peers.iter().cloned());
            let inner = Inner { service, peers, capacity: *capacity };
            let made = node.pool.connect_nested(&to, &inner, &credential, outer, inner_request).await;
            made.map_err(|error| {
                // Behind the gateway are several endpoints, of which it chooses another the next time.
                let behind = matches!(error, DialError::Behind { .. });
                let avoided = if behind { Avoided::Nothing } else { Avoided::Gateway(gateway.address) };
                judge(&error, avoided)
            })
        }
        Hop::Resolve { .. } | Hop::Ask(_) => Err(Attempt::last(Failure::Denied(Denial::plain(
            Reason::UnknownDestination,
            "it is not known yet",
        )))),
    }
}

fn describe(record: &mut Record, chosen: &Chosen, tunnel: SocketAddr) {
    record.destination = Party::of(&chosen.workload);
    record.service.clone_from(&chosen.service);
    record.tunnel = Some(tunnel);
    record.mutual_tls = true;
}

async fn credential(node: &Node, source: &WorkloadUid) -> Result<Arc<Credential>, Attempt> {
    let identity = node.world.load().snapshot.workload(source).map(|it| it.identity.clone());
    let Some(identity) = identity else {
        return Err(no_certificate(format!("the workload {source} is not held")));
    };
    node.credential(&identity).await.map_err(|denial| Attempt::last(Failure::Denied(denial)))
}

fn no_certificate(why: String) -> Attempt {
    Attempt::last(Failure::Denied(Denial::plain(Reason::NoCertificate, why)))
}

fn request(
    node: &Node,
    source: &WorkloadUid,
    authority: &mesh::hop::Authority,
    record: &Record,
) -> Result<transport::hbone::ConnectRequest, Attempt> {
    let held = node.world.load();
    let workload = held
        .snapshot
        .workload(source)
        .ok_or_else(|| no_certificate(format!("the workload {source} is not held")))?;
    Ok(crate::say::request(workload, authority, record.service.as_ref(), &record.context))
}

/// What a failure means, and whether another endpoint may do better.
fn judge(error: &DialError, avoided: Avoided) -> Attempt {
    let failure = match error.refusal() {
        Some((status, Some(denied))) => Failure::There { status, denied: denied.into() },
        _ => Failure::Denied(denial(error)),
    };
    match (error.fault(), error.refusal()) {
        (Fault::Ours, _) | (Fault::Refused, Some((DENIED, _))) => Attempt::last(failure),
        _ => Attempt::another(failure, avoided),
    }
}

fn denial(error: &DialError) -> Denial {
    let reason = match error {
        DialError::OwnCertificateEnded => Reason::NoCertificate,
        DialError::Full { .. } => Reason::TooMuch,
        DialError::WrongPeer { .. } => Reason::WrongPeer,
        DialError::Unproven { .. } | DialError::Handshake { .. } => Reason::HandshakeFailed,
        DialError::Refused { status: DENIED, .. } => Reason::Denied,
        DialError::Behind { cause, .. } => denial(cause).reason,
        _ => Reason::Unreachable,
    };
    Denial::plain(reason, told(error))
}

/// An error with its causes.
fn told(error: &DialError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
