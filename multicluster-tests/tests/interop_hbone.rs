//! Our tunnels against a peer that was written from the wire description alone.

// A test whose ground cannot be laid must fail where it stands.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mesh::{Identity, TrustDomain, names::WorkloadUid};
use multicluster_tests::{
    hbone::{Asked, Connected, accept_one, connect},
    svid::Authority,
};
use tokio::{net::TcpListener, sync::mpsc};
use transport::{
    Address, Credential, CredentialParts, Expected, Listener, Pool,
    hbone::{self, ConnectRequest, Limits, Origin, OriginField, RefusalStatus, ResponseHead},
    pool,
};

const CLIENT: &str = "spiffe://east.test/ns/a/sa/client";
const SERVER: &str = "spiffe://west.test/ns/b/sa/server";
const LIFETIME: Duration = Duration::from_secs(3600);

struct Domains {
    east: Authority,
    west: Authority,
}

impl Domains {
    fn new() -> Self {
        Self { east: Authority::new("east.test").unwrap(), west: Authority::new("west.test").unwrap() }
    }

    /// Our own credential of an identity, which believes each domain for itself.
    fn ours(&self, identity: &str) -> Arc<Credential> {
        let identity: Identity = identity.parse().unwrap();
        let authority = if identity.trust_domain().as_str() == "east.test" { &self.east } else { &self.west };
        let svid = authority.sign(&[&identity.to_string()], LIFETIME).unwrap();
        let bundle = |domain: &str, authority: &Authority| {
            (domain.parse::<TrustDomain>().unwrap(), vec![authority.root().to_vec()])
        };
        let bundles = BTreeMap::from([bundle("east.test", &self.east), bundle("west.test", &self.west)]);
        let parts = CredentialParts {
            identity,
            chain_der: vec![svid.leaf.to_vec()],
            key_pkcs8_der: svid.key.secret_der().to_vec(),
            bundles: Arc::new(bundles),
        };
        Arc::new(Credential::new(parts).unwrap())
    }
}

fn destination(address: SocketAddr) -> pool::Destination {
    let peers = Expected::new([SERVER.parse().unwrap()]);
    pool::Destination { source: WorkloadUid::from("east//MeshWorkload/a/client"), address, peers }
}

#[tokio::test]
async fn our_client_opens_a_tunnel_at_an_independent_server() {
    let domains = Domains::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let own = domains.west.sign(&[SERVER], LIFETIME).unwrap();
    let roots = [domains.east.root()];
    let (sender, mut asked) = mpsc::channel::<Asked>(4);
    tokio::spawn(async move { accept_one(&listener, &own, &roots, sender).await });
    let mut request = ConnectRequest::to("10.1.2.3:80".parse().unwrap());
    request.origin = Some(Origin::Unknown);
    let pool = Pool::new(pool::Config::default());
    let mut stream = pool.connect(&destination(address), &domains.ours(CLIENT), request).await.unwrap();
    let mut asked = asked.recv().await.unwrap();
    assert_eq!(asked.authority, "10.1.2.3:80");
    assert_eq!(asked.headers["x-strait-origin"], "unknown");
    stream.write_chunks([Bytes::from_static(b"hello "), Bytes::from_static(b"there")]).await.unwrap();
    stream.finish().await.unwrap();
    let mut heard = Vec::new();
    while let Some(chunk) = asked.tunnel.receive().await.unwrap() {
        heard.extend_from_slice(&chunk);
    }
    assert_eq!(heard, b"hello there", "END_STREAM ended our direction");
    asked.tunnel.send(Bytes::from_static(b"and back")).await.unwrap();
    asked.tunnel.finish().unwrap();
    let mut back = Vec::new();
    while let Some(chunk) = stream.read_chunk().await.unwrap() {
        back.extend_from_slice(&chunk);
    }
    assert_eq!(back, b"and back", "the other direction was still open");
}

#[tokio::test]
async fn an_independent_client_opens_a_tunnel_at_our_server() {
    let domains = Domains::new();
    let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
    let credential = domains.ours(SERVER);
    tokio::spawn(async move {
        let socket = listener.accept().await.unwrap();
        let mut tunnel = hbone::accept(socket, &credential, &Limits::default()).await.unwrap();
        assert_eq!(tunnel.peer().identity.to_string(), CLIENT);
        while let Some(connect) = tunnel.next().await {
            if connect.authority.to_string() != "10.1.2.3:80" {
                connect.refuse(RefusalStatus::Denied, Some("id=r-1; reason=Denied"));
                continue;
            }
            assert_eq!(connect.head.origin, OriginField::Absent);
            let mut stream =
                connect.accept(ResponseHead { baggage: Some("k8s.cluster.name=west".into()) }).unwrap();
            tokio::spawn(async move {
                while let Some(chunk) = stream.read_chunk().await.unwrap() {
                    stream.write_chunks([chunk]).await.unwrap();
                }
                stream.finish().await.unwrap();
            });
        }
    });
    let own = domains.east.sign(&[CLIENT], LIFETIME).unwrap();
    let roots = [domains.west.root()];
    let open = connect(address, &own, &roots, "10.1.2.3:80", HeaderMap::new()).await.unwrap();
    let Connected::Open(mut tunnel, head) = open else { panic!("it was refused: {open:?}") };
    assert_eq!(head["baggage"], "k8s.cluster.name=west");
    // More than a window, so that credit must flow both ways.
    let sent = Bytes::from((0..6_000_000_u32).map(|number| number as u8).collect::<Vec<_>>());
    let mut heard = Vec::with_capacity(sent.len());
    for part in sent.chunks(256 << 10) {
        tunnel.send(Bytes::copy_from_slice(part)).await.unwrap();
        let wanted = heard.len() + part.len();
        while heard.len() < wanted {
            heard.extend_from_slice(&tunnel.receive().await.unwrap().unwrap());
        }
    }
    tunnel.finish().unwrap();
    while let Some(chunk) = tunnel.receive().await.unwrap() {
        heard.extend_from_slice(&chunk);
    }
    assert!(heard == sent, "{} of {} bytes came back", heard.len(), sent.len());
}

#[tokio::test]
async fn an_independent_client_is_told_why_it_was_refused() {
    let domains = Domains::new();
    let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
    let credential = domains.ours(SERVER);
    tokio::spawn(async move {
        let socket = listener.accept().await.unwrap();
        let mut tunnel = hbone::accept(socket, &credential, &Limits::default()).await.unwrap();
        while let Some(connect) = tunnel.next().await {
            connect.refuse(RefusalStatus::Denied, Some("id=r-1; reason=Denied"));
        }
    });
    let own = domains.east.sign(&[CLIENT], LIFETIME).unwrap();
    let answer =
        connect(address, &own, &[domains.west.root()], "tools.svc:80", HeaderMap::new()).await.unwrap();
    let Connected::Refused(status, head) = answer else { panic!("it was not refused") };
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(head["x-strait-denied"], "id=r-1; reason=Denied");
}

#[tokio::test]
async fn a_root_of_another_trust_domain_proves_nobody() {
    let domains = Domains::new();
    let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("it is TCP") };
    let credential = domains.ours(SERVER);
    let accepted = tokio::spawn(async move {
        let socket = listener.accept().await.unwrap();
        hbone::accept(socket, &credential, &Limits::default()).await.map(|_| ())
    });
    // West's own authority signs an identity of east: its signature is good, and it is not east's.
    let forged = domains.west.sign(&[CLIENT], LIFETIME).unwrap();
    let client = connect(address, &forged, &[domains.west.root()], "10.1.2.3:80", HeaderMap::new()).await;
    assert!(accepted.await.unwrap().is_err(), "the server accepted a forged identity");
    assert!(!matches!(client, Ok(Connected::Open(..))));
}
