//! How tunnels are shared, and when they are not.

use std::{
    collections::BTreeSet,
    num::{NonZeroU16, NonZeroUsize},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;
use transport::{
    Address, Cancel, Credential, CredentialParts, DialError, Expected, Fault, Pool, Stream,
    dial::{Target, dial},
    hbone::{self, Limits, ResponseHead},
    pool::{Config, Inner, Usage},
    relay,
};

use crate::support::*;

/// A server that accepts tunnels for ever, each stream an echo; counts tunnels.
fn start(pair: &Arc<Pair>) -> Arc<AtomicUsize> {
    let tunnels = Arc::new(AtomicUsize::new(0));
    let (pair, count) = (pair.clone(), tunnels.clone());
    tokio::spawn(async move {
        loop {
            let tunnel = pair.accept().await;
            count.fetch_add(1, Ordering::Relaxed);
            serve(tunnel, echo);
        }
    });
    tunnels
}

async fn echoes(stream: &mut Stream) {
    stream.write_chunks([Bytes::from_static(b"hello")]).await.expect("open");
    let echoed = timeout(PATIENCE, stream.read_chunk()).await.expect("in time").expect("open");
    assert_eq!(echoed, Some(Bytes::from_static(b"hello")));
}

fn sixteen(value: u16) -> NonZeroU16 {
    NonZeroU16::new(value).expect("not zero")
}

fn size(value: usize) -> NonZeroUsize {
    NonZeroUsize::new(value).expect("not zero")
}

async fn open(pair: &Arc<Pair>, count: usize) -> Vec<Stream> {
    let opened = (0..count).map(|_| {
        let pair = pair.clone();
        tokio::spawn(async move { pair.connect().await.expect("accepted") })
    });
    let mut streams = Vec::new();
    for stream in opened.collect::<Vec<_>>() {
        streams.push(timeout(PATIENCE, stream).await.expect("in time").expect("no panic"));
    }
    streams
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_handshake() {
    let pair = Arc::new(Pair::new());
    let tunnels = start(&pair);
    let mut streams = open(&pair, 50).await;
    for stream in &mut streams {
        echoes(stream).await;
    }
    assert_eq!(tunnels.load(Ordering::Relaxed), 1);
    assert_eq!(pair.pool.usage(), Usage { tunnels: 1, streams: 50 });
    drop(streams);
    assert_eq!(pair.pool.usage().streams, 0);
}

#[tokio::test]
async fn a_full_tunnel_gets_a_second_beside_it() {
    let ours = Config { streams_per_tunnel: sixteen(2), ..Config::default() };
    let theirs = Limits { streams: 2, ..Limits::default() };
    for (config, limits) in [(ours, Limits::default()), (Config::default(), theirs)] {
        let pair = Arc::new(Pair::with(config, limits));
        let tunnels = start(&pair);
        let mut streams = open(&pair, 5).await;
        for stream in &mut streams {
            echoes(stream).await;
        }
        assert_eq!(tunnels.load(Ordering::Relaxed), 3);
        // Places that became free are used again.
        streams.truncate(4);
        streams.extend(open(&pair, 1).await);
        assert_eq!(tunnels.load(Ordering::Relaxed), 3);
    }
}

#[tokio::test]
async fn nothing_is_shared_across_sources_or_expectations() {
    let pair = Arc::new(Pair::new());
    let tunnels = start(&pair);
    let first = pair.to_server();
    let mut second = first.clone();
    second.source = "east//agents/intern".into();
    let mut third = first.clone();
    third.peers = Expected::new([identity(SERVER), identity("spiffe://east/other")]);
    let mut streams = Vec::new();
    for to in [&first, &second, &third, &first] {
        streams.push(pair.pool.connect(to, &pair.client, request()).await.expect("accepted"));
    }
    assert_eq!(tunnels.load(Ordering::Relaxed), 3);
    pair.pool.retire_source(&second.source);
    assert_eq!(pair.pool.usage().tunnels, 2);
    pair.pool.retire_where(|to, peer| to.peers == third.peers && peer.identity == identity(SERVER));
    assert_eq!(pair.pool.usage().tunnels, 1);
    pair.pool.retire_all();
    assert_eq!(pair.pool.usage(), Usage::default());
    for stream in &mut streams {
        echoes(stream).await;
    }
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_waited_and_is_not_kept() {
    let pair = Arc::new(Pair::new());
    let to = pair.to_server();
    let serve = async {
        drop(pair.listener.accept().await.expect("it listens"));
    };
    let (first, second, ()) = tokio::join!(
        pair.pool.connect(&to, &pair.client, request()),
        pair.pool.connect(&to, &pair.client, request()),
        serve
    );
    for failed in [first, second] {
        assert!(matches!(failed, Err(DialError::Handshake { .. })), "{failed:?}");
    }
    assert_eq!(pair.pool.usage(), Usage::default());
    start(&pair);
    echoes(&mut pair.connect().await.expect("accepted")).await;
}

#[tokio::test]
async fn one_who_leaves_does_not_take_the_tunnel_from_the_others() {
    let pair = Arc::new(Pair::new());
    let impatient = tokio::spawn({
        let pair = pair.clone();
        async move { pair.connect().await }
    });
    let patient = tokio::spawn({
        let pair = pair.clone();
        async move { pair.connect().await }
    });
    // The connection is there, its tunnel is being opened.
    let socket = pair.listener.accept().await.expect("it listens");
    impatient.abort();
    assert!(impatient.await.expect_err("it was aborted").is_cancelled());
    let tunnel = hbone::accept(socket, &pair.server, &pair.limits).await.expect("a tunnel");
    serve(tunnel, echo);
    let mut stream = timeout(PATIENCE, patient).await.expect("in time").expect("no panic").expect("accepted");
    echoes(&mut stream).await;
}

#[tokio::test]
async fn a_tunnel_that_says_goaway_is_replaced_and_its_streams_go_on() {
    let pair = Arc::new(Pair::new());
    let accept = async {
        let tunnel = pair.accept().await;
        let handle = tunnel.handle();
        serve(tunnel, echo);
        handle
    };
    let (first, handle) = tokio::join!(pair.connect(), accept);
    let mut first = first.expect("accepted");
    let tunnels = start(&pair);
    handle.drain();
    // An echo after the GOAWAY was written says that the client has read it.
    echoes(&mut first).await;
    echoes(&mut first).await;
    let mut second = pair.connect().await.expect("accepted");
    assert_eq!(tunnels.load(Ordering::Relaxed), 1);
    echoes(&mut second).await;
    echoes(&mut first).await;
    first.finish().await.expect("open");
    assert!(read_all(&mut first).await.expect("whole").is_empty());
    drop(first);
    timeout(PATIENCE, handle.ended()).await.expect("it ends with its last stream");
}

#[tokio::test]
async fn a_tunnel_that_broke_is_replaced() {
    let pair = Arc::new(Pair::new());
    let accept = async {
        let tunnel = pair.accept().await;
        let handle = tunnel.handle();
        serve(tunnel, echo);
        handle
    };
    let (first, handle) = tokio::join!(pair.connect(), accept);
    start(&pair);
    handle.cut();
    let mut first = first.expect("accepted");
    assert!(timeout(PATIENCE, first.read_chunk()).await.expect("in time").is_err());
    echoes(&mut pair.connect().await.expect("accepted")).await;
}

fn renewed(pair: &Pair, believed: &[&Authority]) -> Arc<Credential> {
    pair.authority.credential(CLIENT, believed)
}

#[tokio::test]
async fn a_renewed_certificate_cuts_nothing() {
    let pair = Arc::new(Pair::new());
    let tunnels = start(&pair);
    let to = pair.to_server();
    let mut first = pair.connect().await.expect("accepted");
    let west = Authority::new("west");
    let newer_root = Authority::new("east");
    for believed in [&[&pair.authority][..], &[&pair.authority, &west], &[&pair.authority, &newer_root]] {
        let again = pair.pool.connect(&to, &renewed(&pair, believed), request()).await;
        echoes(&mut again.expect("accepted")).await;
        assert_eq!(tunnels.load(Ordering::Relaxed), 1);
    }
    echoes(&mut first).await;
}

#[tokio::test]
async fn a_root_that_was_taken_away_opens_no_more_streams() {
    let pair = Arc::new(Pair::new());
    start(&pair);
    let to = pair.to_server();
    let mut first = pair.connect().await.expect("accepted");
    let newer_root = Authority::new("east");
    let refused = pair.pool.connect(&to, &renewed(&pair, &[&newer_root]), request()).await;
    assert!(matches!(refused, Err(DialError::Unproven { .. })), "{refused:?}");
    echoes(&mut first).await;
}

static YEAR: AtomicU32 = AtomicU32::new(2026);

#[tokio::test]
async fn a_tunnel_ends_with_its_certificate_for_new_streams_only() {
    let now = || year(YEAR.load(Ordering::Relaxed).into());
    let config = Config { limits: Limits { now, ..Limits::default() }, ..Config::default() };
    let pair = Arc::new(Pair::with(config, Limits::default()));
    let tunnels = start(&pair);
    let to = pair.to_server();
    let until = |until| {
        let change = |leaf: &mut rcgen::CertificateParams| leaf.not_after = rcgen::date_time_ymd(until, 1, 1);
        pair.authority.credential_with(CLIENT, &[&pair.authority], change)
    };
    let (old, new) = (until(2040), until(2060));
    let mut first = pair.pool.connect(&to, &old, request()).await.expect("accepted");
    for (when, credential, count) in [(2030, &new, 1), (2039, &old, 1), (2041, &new, 2), (2050, &new, 2)] {
        YEAR.store(when, Ordering::Relaxed);
        echoes(&mut pair.pool.connect(&to, credential, request()).await.expect("accepted")).await;
        assert_eq!(tunnels.load(Ordering::Relaxed), count, "{when}");
    }
    let refused = pair.pool.connect(&to, &old, request()).await.expect_err("it has ended");
    assert!(matches!(refused, DialError::OwnCertificateEnded), "{refused}");
    assert_eq!(refused.fault(), Fault::Ours);
    echoes(&mut first).await;
}

#[tokio::test]
async fn a_tunnel_without_streams_ends_after_a_while() {
    let config = Config { idle_timeout: Duration::from_millis(20), ..Config::default() };
    let pair = Arc::new(Pair::with(config, Limits::default()));
    let accept = async {
        let tunnel = pair.accept().await;
        let handle = tunnel.handle();
        serve(tunnel, echo);
        handle
    };
    let (stream, handle) = tokio::join!(pair.connect(), accept);
    let mut stream = stream.expect("accepted");
    assert!(timeout(Duration::from_millis(200), handle.ended()).await.is_err(), "it has a stream");
    echoes(&mut stream).await;
    drop(stream);
    timeout(PATIENCE, handle.ended()).await.expect("it ends");
    assert_eq!(pair.pool.usage(), Usage::default());
}

#[tokio::test]
async fn a_pool_has_a_bound_and_gives_up_what_is_idle() {
    let config = Config { tunnels: size(1), ..Config::default() };
    let pair = Arc::new(Pair::with(config, Limits::default()));
    start(&pair);
    let first = pair.to_server();
    let mut second = first.clone();
    second.source = "east//agents/intern".into();
    let connect = |to| pair.pool.connect(to, &pair.client, request());
    let stream = connect(&first).await.expect("accepted");
    let full = connect(&second).await.expect_err("no room");
    assert!(matches!(full, DialError::Full { limit: 1 }), "{full}");
    echoes(&mut connect(&first).await.expect("in the same tunnel")).await;
    drop(stream);
    echoes(&mut connect(&second).await.expect("the first is idle now")).await;
    assert_eq!(pair.pool.usage().tunnels, 1);

    let config = Config { tunnels_per_key: size(1), streams_per_tunnel: sixteen(1), ..Config::default() };
    let pair = Arc::new(Pair::with(config, Limits::default()));
    start(&pair);
    let _stream = pair.connect().await.expect("accepted");
    assert!(matches!(pair.connect().await, Err(DialError::Full { limit: 1 })));
}

#[tokio::test]
async fn a_silent_address_has_a_bound() {
    let config = Config { connect_timeout: Duration::from_millis(50), ..Config::default() };
    let pair = Pair::with(config, Limits::default());
    // It accepts connections into its queue, and nobody takes them from there.
    let error = pair.connect().await.expect_err("nobody answers");
    assert!(matches!(error, DialError::Silent { .. }), "{error}");
    assert_eq!(pair.pool.usage(), Usage::default());
}

/// A gateway in front of several endpoints of one service in another trust domain: each stream to the next one.
struct Remote {
    gateway: Arc<Pair>,
    west: Authority,
    client: Arc<Credential>,
    served: Arc<Mutex<BTreeSet<usize>>>,
}

const REMOTE: &str = "spiffe://west/ns/tools/sa/server";

fn remote(endpoints: usize) -> Remote {
    let gateway = Arc::new(Pair::new());
    let west = Authority::new("west");
    let server = west.credential(REMOTE, &[&west, &gateway.authority]);
    let client = gateway.authority.credential(CLIENT, &[&gateway.authority, &west]);
    let served = Arc::new(Mutex::new(BTreeSet::new()));
    let mut addresses = Vec::new();
    for index in 0..endpoints {
        let listener = listener();
        addresses.push(listener.address().clone());
        let (server, served) = (server.clone(), served.clone());
        tokio::spawn(async move {
            while let Ok(socket) = listener.accept().await {
                let Ok(tunnel) = hbone::accept(socket, &server, &Limits::default()).await else { continue };
                let served = served.clone();
                serve(tunnel, move |connect| {
                    served.lock().expect("no panic").insert(index);
                    echo(connect)
                });
            }
        });
    }
    let forward = gateway.clone();
    tokio::spawn(async move {
        let next = Arc::new(AtomicUsize::new(0));
        loop {
            let tunnel = forward.accept().await;
            let (next, addresses) = (next.clone(), addresses.clone());
            serve(tunnel, move |connect| {
                let address = addresses[next.fetch_add(1, Ordering::Relaxed) % addresses.len()].clone();
                pass_on(connect, address)
            });
        }
    });
    Remote { gateway, west, client, served }
}

/// The gateway never opens what it passes on.
async fn pass_on(connect: hbone::Connect, address: Address) {
    let target = Target { address, from: None, timeout: PATIENCE };
    let Ok(upstream) = dial(&target).await else { return };
    let Ok(stream) = connect.accept(ResponseHead::default()) else { return };
    relay(stream, upstream.into(), &Cancel::new(), &relay_options()).await;
}

fn relay_options() -> transport::relay::Options {
    transport::relay::Options::default()
}

impl Remote {
    async fn connect(&self, peer: &str, capacity: u32) -> Result<Stream, DialError> {
        let service: hbone::Authority = "tools.shop.svc.clusterset.local:80".parse().expect("an authority");
        let inner = Inner { service: service.clone(), peers: Expected::from(identity(peer)), capacity };
        let request = || hbone::ConnectRequest::to(service.clone());
        let (pool, gateway) = (&self.gateway.pool, self.gateway.to_server());
        pool.connect_nested(&gateway, &inner, &self.client, request(), request()).await
    }
}

#[tokio::test]
async fn a_stream_through_a_gateway_has_two_proven_peers() {
    let remote = remote(1);
    let mut stream = timeout(PATIENCE, remote.connect(REMOTE, 1)).await.expect("in time").expect("accepted");
    let path: Vec<_> = stream.path().iter().map(|peer| peer.identity.to_string()).collect();
    assert_eq!(path, [SERVER, REMOTE]);
    echoes(&mut stream).await;
    let sent = content(5 * 1024 * 1024);
    let (mut reader, mut writer) = stream.split();
    let mut chunks = [sent.clone()].into();
    let write = async {
        writer.write_chunks(&mut chunks).await.expect("open");
        writer.finish().expect("open");
    };
    let read = async {
        let mut all = Vec::new();
        while let Some(chunk) = reader.read_chunk().await.expect("whole") {
            all.extend_from_slice(&chunk);
        }
        assert!(all == sent);
    };
    timeout(PATIENCE, async { tokio::join!(write, read) }).await.expect("in time");
    assert_eq!(remote.gateway.pool.usage().tunnels, 2);
}

#[tokio::test]
async fn who_is_behind_the_gateway_must_be_expected_too() {
    let remote = remote(1);
    let connected = remote.connect("spiffe://west/ns/tools/sa/other", 1).await;
    let Err(DialError::Behind { service, cause }) = connected else { panic!("{connected:?}") };
    assert_eq!(service.to_string(), "tools.shop.svc.clusterset.local:80");
    assert!(matches!(*cause, DialError::WrongPeer { .. }), "{cause}");
    // Nor may the gateway itself stand in for it.
    let connected = remote.connect(SERVER, 1).await;
    assert!(matches!(connected, Err(DialError::Behind { .. })), "{connected:?}");
    drop(remote.west);
}

#[tokio::test]
async fn streams_one_after_another_reach_every_endpoint() {
    let remote = remote(3);
    for round in 0.. {
        let mut stream =
            timeout(PATIENCE, remote.connect(REMOTE, 3)).await.expect("in time").expect("accepted");
        echoes(&mut stream).await;
        if remote.served.lock().expect("no panic").len() == 3 {
            break;
        }
        assert!(round < 100, "one endpoint gets everything");
    }
    // One outer tunnel, and as many inner ones as the capacity says.
    assert!(remote.gateway.pool.usage().tunnels <= 4);
}

#[test]
fn a_pool_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    fn moved<T: Send>(_: &T) {}
    shared::<Pool>();
    let pair = |pool: &'static Pool,
                credential: &'static Arc<Credential>,
                to: &'static transport::pool::Destination| {
        moved(&pool.connect(to, credential, request()));
    };
    let _ = pair;
    let _ = |parts: CredentialParts| drop(parts);
}
