//! Carries out a hop: opens a stream to it, in the caller's name where the other end takes our word.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use exchange::BoxFuture;
use mesh::{
    Caller, Denial, Identity, Peer, Reason, TrustDomain,
    admission::{self, TlsPeer},
    hop::{self, At, Chosen, Hop},
    names::Hostname,
};
use runtime::TraceContext;
use transport::{
    Address, Credential, Credentials, DialError, Expected, Pool, Stream, VerifiedPeer,
    credential::PeerError,
    dial::Target,
    hbone::{Authority, ConnectRequest, Origin},
    pool::{Destination, Inner},
};

use crate::{own::Own, world::Worlds};

/// A hop that can be dialled.
#[derive(Debug, Clone)]
pub struct Way {
    /// The tunnel or tunnels.
    pub tunnel: Tunnel,
    /// What is asked for there.
    pub authority: Authority,
    /// For whom we say that we speak; `None` where our word is not taken: then we are the caller.
    pub origin: Option<Origin>,
    /// From which address the caller came, as it said.
    pub source_address: Option<IpAddr>,
    /// The place of the connection in its trace.
    pub trace: Option<TraceContext>,
    /// Who was chosen.
    pub chosen: Chosen,
}

/// The tunnel of a way.
#[derive(Debug, Clone)]
pub enum Tunnel {
    /// One.
    Single {
        /// Where it is accepted.
        address: SocketAddr,
        /// Who may be there.
        peers: Vec<Identity>,
    },
    /// None: the bytes are a tunnel already, of others.
    Bare {
        /// Where it is accepted.
        address: SocketAddr,
    },
    /// One through a gateway.
    Nested {
        /// The gateway's address.
        gateway: SocketAddr,
        /// Who the gateway is.
        gateway_identity: Identity,
        /// Who may be at the far end.
        peers: Vec<Identity>,
        /// How much the other cluster can take.
        capacity: u32,
    },
}

impl Way {
    /// Where the (outer) tunnel is accepted.
    pub fn address(&self) -> SocketAddr {
        match &self.tunnel {
            Tunnel::Single { address, .. } | Tunnel::Bare { address } => *address,
            Tunnel::Nested { gateway, .. } => *gateway,
        }
    }

    /// The way on which a gateway forwards an inner tunnel that it does not open.
    pub fn forward(address: SocketAddr, host: &Hostname, port: u16, chosen: Chosen) -> Self {
        let authority = Authority::Name { host: host.clone(), port };
        let tunnel = Tunnel::Bare { address };
        Self { tunnel, authority, origin: None, source_address: None, trace: None, chosen }
    }
}

/// Makes a hop a way. A waypoint calls only into the mesh.
///
/// # Errors
/// When the hop leads elsewhere.
pub fn way(own: &Own, caller: &Caller, source_address: Option<IpAddr>, hop: Hop) -> Result<Way, Denial> {
    let (tunnel, authority, chosen) = match hop {
        Hop::Tunnel { address, peers, authority, chosen } => {
            (Tunnel::Single { address, peers }, authority, chosen)
        }
        Hop::ThroughGateway { gateway, authority, peers, capacity, chosen } => {
            let tunnel = Tunnel::Nested {
                gateway: gateway.address,
                gateway_identity: gateway.identity,
                peers,
                capacity,
            };
            (tunnel, authority, chosen)
        }
        Hop::Direct { address } => {
            return Err(Denial::plain(Reason::EgressDenied, format!("{address} is outside the mesh")));
        }
        Hop::Resolve { host, .. } => {
            return Err(Denial::plain(Reason::EgressDenied, format!("{host} is outside the mesh")));
        }
        Hop::Ask(wanted) => return Err(hop::silent(&wanted)),
    };
    let workload = &chosen.workload;
    let vouchers = match &chosen.at {
        At::Port(port, _) => &workload.ports.get(port).unwrap_or(&workload.other_ports).vouchers,
        At::Waypoint | At::Remote => &workload.vouchers,
    };
    let taken = vouchers.contains(&own.identity);
    let origin = taken.then(|| origin(own, caller, workload.identity.trust_domain()));
    let authority = authority_of(authority);
    Ok(Way { tunnel, authority, origin, source_address, trace: None, chosen })
}

/// For whom we speak where our word is taken: in our own trust domain for every caller that we verified, in another only
/// for callers of ours (DESIGN 4.1). Of anyone else we say that nobody is known: who takes our word refuses silence.
fn origin(own: &Own, caller: &Caller, to: &TrustDomain) -> Origin {
    let ours = own.identity.trust_domain();
    match &caller.workload {
        Peer::Verified(identity) if to == ours || identity.trust_domain() == ours => {
            Origin::Identity(identity.clone())
        }
        // Who came in at our edge is nobody of the mesh: what is done for them there, we do.
        Peer::Unknown if caller.by.is_none() => Origin::Identity(own.identity.clone()),
        Peer::Verified(_) | Peer::Unverified(_) | Peer::Unknown => Origin::Unknown,
    }
}

fn authority_of(authority: hop::Authority) -> Authority {
    match authority {
        hop::Authority::Address(address) => Authority::Address(address),
        hop::Authority::Name { host, port } => Authority::Name { host, port },
    }
}

/// Opens streams.
pub trait Dial: Send + Sync {
    /// Opens a stream along a way.
    fn dial<'a>(&'a self, way: &'a Way) -> BoxFuture<'a, Result<Stream, DialError>>;
}

/// Opens streams in tunnels.
pub struct Tunnels {
    own: Arc<Own>,
    pool: Pool,
    credentials: Arc<dyn Credentials>,
    worlds: Arc<Worlds>,
    connect_timeout: Duration,
}

impl Tunnels {
    /// Opens them from this pool, in our own name.
    pub fn new(
        own: Arc<Own>,
        pool: Pool,
        credentials: Arc<dyn Credentials>,
        worlds: Arc<Worlds>,
        connect_timeout: Duration,
    ) -> Self {
        Self { own, pool, credentials, worlds, connect_timeout }
    }
}

impl Dial for Tunnels {
    fn dial<'a>(&'a self, way: &'a Way) -> BoxFuture<'a, Result<Stream, DialError>> {
        Box::pin(async move {
            match &way.tunnel {
                Tunnel::Bare { address } => {
                    let target =
                        Target { address: Address::Tcp(*address), from: None, timeout: self.connect_timeout };
                    transport::dial::dial(&target).await.map(Stream::from)
                }
                Tunnel::Single { address, peers } => {
                    let to = self.to(*address, Expected::new(peers.iter().cloned()));
                    let stream = self.pool.connect(&to, &self.credential()?, request(way)).await?;
                    self.believe(way, stream)
                }
                Tunnel::Nested { gateway, gateway_identity, peers, capacity } => {
                    let to = self.to(*gateway, gateway_identity.clone().into());
                    let inner = Inner {
                        service: way.authority.clone(),
                        peers: Expected::new(peers.iter().cloned()),
                        capacity: *capacity,
                    };
                    let outer = ConnectRequest::to(way.authority.clone());
                    let credential = self.credential()?;
                    let stream =
                        self.pool.connect_nested(&to, &inner, &credential, outer, request(way)).await?;
                    self.believe(way, stream)
                }
            }
        })
    }
}

impl Tunnels {
    fn to(&self, address: SocketAddr, peers: Expected) -> Destination {
        Destination { source: self.own.uid.clone(), address, peers }
    }

    /// A certificate that was revoked proves nobody, whenever its tunnel was opened.
    fn believe(&self, way: &Way, stream: Stream) -> Result<Stream, DialError> {
        let world = self.worlds.load();
        let judge = |peer: &VerifiedPeer| {
            let began = peer.not_before.duration_since(std::time::UNIX_EPOCH);
            let not_before = began.map_or(0, |since| since.as_secs());
            admission::believed(&world.snapshot, &TlsPeer { identity: peer.identity.clone(), not_before })
        };
        for peer in stream.path() {
            if let Err(denial) = judge(peer) {
                self.pool.retire_where(|_, peer| judge(peer).is_err());
                let cause = PeerError::Usage { identity: peer.identity.clone(), cause: denial.to_string() };
                return Err(DialError::Unproven { address: Address::Tcp(way.address()), cause });
            }
        }
        Ok(stream)
    }

    fn credential(&self) -> Result<Arc<Credential>, DialError> {
        self.credentials.current(&self.own.identity).map_err(|_| DialError::OwnCertificateEnded)
    }
}

fn request(way: &Way) -> ConnectRequest {
    let forwarded = way.source_address.map(|address| match address {
        IpAddr::V4(address) => format!("for=\"{address}\""),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    });
    let trace = way.trace.as_ref().map(TraceContext::parent);
    let to = ConnectRequest::to(way.authority.clone());
    ConnectRequest { origin: way.origin.clone(), forwarded, trace, ..to }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_vouch_for_everybody_at_home_and_for_our_own_elsewhere() {
        let identity = |text: &str| text.parse::<Identity>().unwrap();
        let own = Own { uid: "w".into(), identity: identity("spiffe://east/ns/a/sa/waypoint") };
        let verified = |text: &str| Peer::Verified(identity(text));
        let is = |text: &str| Origin::Identity(identity(text));
        let itself = || Origin::Identity(own.identity.clone());
        let voucher = Some(identity("spiffe://east/ns/a/sa/gateway"));
        for (workload, by, to, expected) in [
            (verified("spiffe://east/a"), None, "east", is("spiffe://east/a")),
            (verified("spiffe://west/a"), None, "east", is("spiffe://west/a")),
            (Peer::Unknown, None, "east", itself()),
            (Peer::Unknown, voucher.clone(), "east", Origin::Unknown),
            (verified("spiffe://east/a"), None, "west", is("spiffe://east/a")),
            (verified("spiffe://west/a"), None, "west", Origin::Unknown),
            (verified("spiffe://north/a"), None, "west", Origin::Unknown),
            (Peer::Unknown, None, "west", itself()),
            (Peer::Unknown, voucher, "west", Origin::Unknown),
        ] {
            let caller = Caller { workload, by };
            assert_eq!(origin(&own, &caller, &to.parse().unwrap()), expected, "{caller:?} {to}");
        }
    }
}
