//! Two node proxies and a control plane in one process, on loopback, over the real wire.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use mesh::resource::{Admission, DefaultAccess};
use support::{
    Cluster, Echo, Node, WAIT,
    client::{Client, basic, get},
    eventually,
    words::{Shape, TOKEN},
};
use tokio::io::AsyncWriteExt as _;
use transport::{
    Expected, Pool, Stream,
    hbone::{Authority, ConnectRequest, Origin},
    pool::Destination,
};

const PLANNER: u8 = 11;
const INTERN: u8 = 12;
const TOOLS: u8 = 21;
const SPARE: u8 = 22;
const SERVICE: u8 = 101;

/// planner and intern on node-1, tools on node-2, granted to planner.
async fn world(number: u8) -> (Cluster, Node, Node, Echo) {
    let cluster = Cluster::start(number).await;
    let echo = Echo::start("tools").await;
    let client = |last| Shape { node: "node-1", last, proxy: true, ..Shape::default() };
    let tools = Shape {
        node: "node-2",
        last: TOOLS,
        serves: &["tools"],
        set: "tools",
        port: Some(echo.port),
        ..Shape::default()
    };
    let mut resources = cluster.base();
    resources.extend(cluster.workload("planner", client(PLANNER)));
    resources.extend(cluster.workload("intern", client(INTERN)));
    resources.extend(cluster.workload("tools", tools));
    resources.extend([
        cluster.service("tools", SERVICE),
        cluster.allow("grants", &["planner"]),
        cluster.set("tools", &["grants"], DefaultAccess::None),
    ]);
    cluster.publish(resources);
    let (one, two) = tokio::join!(cluster.node("node-1"), cluster.node("node-2"));
    (cluster, one, two, echo)
}

/// Opens a connection to tools, which may have to wait for the first certificates.
async fn first(cluster: &Cluster) -> Client {
    let proxy = cluster.proxy(PLANNER);
    eventually("planner reaches tools", async || Client::open(proxy, "tools:80").await.is_ok()).await;
    Client::open(proxy, "tools:80").await.unwrap()
}

#[tokio::test]
async fn a_granted_workload_is_carried_and_both_ends_say_who() {
    let (cluster, one, two, _echo) = world(81).await;
    let mut client = first(&cluster).await;
    assert_eq!(client.ask("hello").await, "tools hello");
    drop(client);
    let source = format!("src.identity={}", cluster.identity("planner"));
    let destination = format!("dst.identity={}", cluster.identity("tools"));
    let parts = [&*source, &destination, "bytes_sent=6", "bytes_received=12", "dst.service=tools.shop.svc"];
    one.logged(&[&parts[..], &["direction=outbound"]].concat()).await;
    two.logged(&["direction=inbound", &source, &destination, "bytes_sent=6", "bytes_received=12"]).await;

    let mut socks = Client::socks(cluster.proxy(PLANNER), "tools.shop", 80, TOKEN).await.unwrap();
    assert_eq!(socks.ask("socks").await, "tools socks");
    let vip = format!("{}:80", cluster.mesh(SERVICE));
    assert_eq!(Client::open(cluster.proxy(PLANNER), &vip).await.unwrap().ask("vip").await, "tools vip");
    let own = format!("{}:80", cluster.mesh(TOOLS));
    assert_eq!(Client::open(cluster.proxy(PLANNER), &own).await.unwrap().ask("own").await, "tools own");
}

#[tokio::test]
async fn one_exchange_goes_on_alone_and_without_its_token() {
    let (cluster, _one, _two, _echo) = world(82).await;
    drop(first(&cluster).await);
    let mut client = Client(tokio::net::TcpStream::connect(cluster.proxy(PLANNER)).await.unwrap());
    let head = format!(
        "POST http://tools/x HTTP/1.1\r\nhost: tools\r\nproxy-authorization: Basic {}\r\n",
        basic(TOKEN)
    );
    let request = format!("{head}content-length: 5\r\n\r\nbody\n{head}\r\nanother\n");
    client.0.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    while !said.ends_with("tools body\n") {
        said.push_str(&client.until("\n").await);
    }
    assert!(said.starts_with("tools POST /x HTTP/1.1\ntools host: tools\n"), "{said}");
    assert!(!said.contains("proxy-"), "{said}");
    // Nothing of what followed the body went on.
    client.0.shutdown().await.unwrap();
    let rest = tokio::time::timeout(Duration::from_millis(300), client.until("another")).await;
    assert!(rest.is_err() || rest.is_ok_and(|rest| !rest.contains("another")));
}

#[tokio::test]
async fn nobody_gets_in_without_grant_or_token_or_past_the_proxy() {
    let (cluster, one, two, _echo) = world(83).await;
    drop(first(&cluster).await);
    let refused = |result: Result<Client, String>| result.err().expect("it is refused");

    let head = refused(Client::open(cluster.proxy(INTERN), "tools:80").await);
    assert!(head.starts_with("HTTP/1.1 403 ") && head.contains("x-strait-denied: id=r-"), "{head}");
    assert!(head.contains("reason=NoGrant"), "{head}");
    let line = two.logged(&["direction=inbound", "reason=NoGrant", "policy=AccessPolicy/shop/grants"]).await;
    let id = line.split("id=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert!(head.contains(&id), "{head} {line}");
    one.logged(&["direction=outbound", &format!("src.identity={}", cluster.identity("intern")), &id]).await;
    eventually("the refusal went up", async || {
        cluster.reports.0.lock().iter().any(
            |record| matches!(record, wire::report::Record::Refusal(refusal) if refusal.id.to_string() == id),
        )
    })
    .await;
    assert_eq!(Client::socks(cluster.proxy(INTERN), "tools", 80, TOKEN).await.err(), Some(2));

    let head = refused(Client::connect(cluster.proxy(PLANNER), "tools:80", "another").await);
    assert!(head.starts_with("HTTP/1.1 407 "), "{head}");
    assert_eq!(Client::socks(cluster.proxy(PLANNER), "tools", 80, "another").await.err(), Some(0xff));
    one.logged(&["reason=WrongToken"]).await;

    // Past the proxy: tunnels take no plaintext, and no port but the declared one is delivered.
    let tunnel = std::net::SocketAddr::from((cluster.machine(TOOLS), 15008));
    assert!(!get(tunnel, "/").await.contains("HTTP"));
    two.logged(&["reason=HandshakeFailed"]).await;
    let other = format!("{}:81", cluster.mesh(TOOLS));
    let head = refused(Client::open(cluster.proxy(PLANNER), &other).await);
    assert!(head.contains("reason=UnknownPort"), "{head}");
    for (to, reason) in [
        ("127.0.0.1:9".to_owned(), "reason=Loop"),
        (format!("{tunnel}"), "reason=Loop"),
        ("nothing.shop.svc.cluster.local:80".to_owned(), "reason=UnknownDestination"),
    ] {
        let head = refused(Client::open(cluster.proxy(PLANNER), &to).await);
        assert!(head.contains(reason), "{to}: {head}");
    }
}

#[tokio::test]
async fn a_change_closes_exactly_the_connections_that_it_concerns() {
    let (cluster, one, two, _echo) = world(84).await;
    let other = Echo::start("other").await;
    let shape = Shape {
        node: "node-2",
        last: 23,
        serves: &["other"],
        set: "other",
        port: Some(other.port),
        ..Shape::default()
    };
    let mut resources = cluster.workload("other", shape);
    resources.extend([cluster.service("other", 103), cluster.set("other", &[], DefaultAccess::Open)]);
    cluster.publish(resources);
    let mut tools = first(&cluster).await;
    let proxy = cluster.proxy(PLANNER);
    eventually("planner reaches other", async || Client::open(proxy, "other:80").await.is_ok()).await;
    let mut other = Client::open(proxy, "other:80").await.unwrap();
    let mut interns = Client::open(cluster.proxy(INTERN), "other:80").await.unwrap();
    assert_eq!(tools.ask("a").await, "tools a");

    cluster.publish([cluster.allow("grants", &["intern"])]);
    tools.ended().await;
    two.logged(&["direction=inbound", "reason=NoLongerAllowed", "policy=AccessPolicy/shop/grants"]).await;
    assert_eq!(other.ask("b").await, "other b");
    assert!(Client::open(proxy, "tools:80").await.is_err());
    assert!(Client::open(cluster.proxy(INTERN), "tools:80").await.is_ok());

    // Revoking one workload closes what is its own, at both ends, and nothing else.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    cluster.publish([cluster.revocation("planner", now + 1)]);
    other.ended().await;
    two.logged(&["direction=inbound", "reason=Revoked"]).await;
    assert_eq!(interns.ask("c").await, "other c");
    let _ = one;
}

#[tokio::test]
async fn another_endpoint_serves_when_one_is_gone() {
    let (cluster, _one, _two, echo) = world(85).await;
    let spare = Echo::start("spare").await;
    let shape = Shape {
        node: "node-1",
        last: SPARE,
        serves: &["tools"],
        set: "tools",
        port: Some(spare.port),
        ..Shape::default()
    };
    cluster.publish(cluster.workload("tools-spare", shape));
    let proxy = cluster.proxy(PLANNER);
    let serves = async |word: &str| {
        let Ok(mut client) = Client::open(proxy, "tools:80").await else { return false };
        client.ask("x").await.starts_with(word)
    };
    eventually("the spare serves", async || serves("spare").await).await;
    eventually("both serve", async || serves("tools").await).await;
    echo.kill().await;
    for _ in 0..20 {
        assert!(serves("spare").await, "no connection is lost");
    }
    spare.kill().await;
    let head = Client::open(proxy, "tools:80").await.err().unwrap();
    assert!(head.contains("reason=DeliveryFailed"), "{head}");
}

#[tokio::test]
async fn traffic_goes_on_without_the_control_plane_across_a_restart() {
    let (cluster, one, two, _echo) = world(86).await;
    let mut client = first(&cluster).await;
    let stored = cluster.directory.path().join("node-1/state/resources");
    eventually("the configuration is stored", async || stored.exists()).await;
    // The file is whole or the one before it: it is replaced by name.
    let identities = cluster.directory.path().join("node-1/state");
    eventually("the identities are stored", async || {
        let files = std::fs::read_dir(&identities).into_iter().flatten().flatten();
        let read = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        read.into_iter().any(|text| {
            ["planner", "intern"].iter().all(|who| text.contains(&format!("{}\"", cluster.identity(who))))
        })
    })
    .await;
    cluster.kill();
    assert_eq!(client.ask("a").await, "tools a");
    one.stop().await;
    client.ended().await;
    let _one = cluster.node("node-1").await;
    let mut client = Client::open(cluster.proxy(PLANNER), "tools:80").await.unwrap();
    assert_eq!(client.ask("b").await, "tools b");
    let head = Client::open(cluster.proxy(INTERN), "tools:80").await.err().unwrap();
    assert!(head.contains("reason=NoGrant"), "{head}");
    // What is not held cannot be asked for: it is refused, not let out.
    let to = format!("{}:80", cluster.mesh(99));
    let head = Client::open(cluster.proxy(PLANNER), &to).await.err().unwrap();
    assert!(head.contains("reason=ControlPlaneSilent"), "{head}");
    let _ = two;
}

/// Opens a stream to tools as the waypoint, for somebody.
async fn vouch(cluster: &Cluster, pool: &Pool, origin: Option<&str>) -> Result<Stream, Option<String>> {
    let to = Destination {
        source: "waypoint".into(),
        address: (cluster.machine(TOOLS), 15008).into(),
        peers: Expected::from(cluster.identity("tools")),
    };
    let request = ConnectRequest {
        authority: Authority::Address((cluster.mesh(TOOLS), 80).into()),
        origin: origin.map(|who| Origin::Identity(cluster.identity(who))),
        forwarded: None,
        baggage: None,
        network: None,
        trace: None,
    };
    let made = pool.connect(&to, &cluster.credential("waypoint").await, request).await;
    made.map_err(|error| error.refusal().and_then(|(_, denied)| denied.map(str::to_owned)))
}

async fn ask(stream: &mut Stream, line: &str) -> Option<String> {
    stream.write_chunks([format!("{line}\n").into()]).await.ok()?;
    let chunk = tokio::time::timeout(WAIT, stream.read_chunk()).await.expect("it answers in time").ok()??;
    String::from_utf8(chunk.to_vec()).ok()
}

#[tokio::test]
async fn a_waypoint_cannot_be_bypassed_and_speaks_for_each_caller_alone() {
    let (cluster, _one, two, echo) = world(88).await;
    drop(first(&cluster).await);
    let standing = Client::open(cluster.proxy(PLANNER), "tools:80").await.unwrap();
    let shape = Shape {
        node: "node-2",
        last: TOOLS,
        serves: &["tools"],
        set: "tools",
        port: Some(echo.port),
        ..Shape::default()
    };
    let mut tools = cluster.workload("tools", shape);
    let mesh::resource::Resource::Workload(workload) = &mut tools[0] else { panic!("it is first") };
    let waypoints = vec![cluster.identity("waypoint")];
    let port = std::sync::Arc::make_mut(workload).ports.get_mut(&80).unwrap();
    port.vouchers = waypoints.clone();
    port.admission = Admission::Through { waypoints, dial: None };
    cluster.publish(tools);

    // Who calls the workload itself is led to the waypoint, which here is none; and past that, is not let in.
    let proxy = cluster.proxy(PLANNER);
    eventually("the port admits only the waypoint", async || {
        let Err(head) = Client::open(proxy, "tools:80").await else { return false };
        head.contains("reason=WaypointMissing") || head.contains("reason=NotThroughWaypoint")
    })
    .await;
    // What was open before stays, under the rules that it had: no rule of layer 7 applies.
    let mut standing = standing;
    assert_eq!(standing.ask("still").await, "tools still");

    let pool = Pool::new(transport::pool::Config::default());
    let denied = vouch(&cluster, &pool, None).await.err().flatten().unwrap();
    assert!(denied.contains("reason=OriginMissing"), "{denied}");
    let mut planner = vouch(&cluster, &pool, Some("planner")).await.unwrap();
    let mut other = vouch(&cluster, &pool, Some("other")).await.unwrap();
    assert_eq!(ask(&mut planner, "a").await.as_deref(), Some("tools a\n"));
    assert_eq!(ask(&mut other, "b").await.as_deref(), Some("tools b\n"));

    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    cluster.publish([cluster.revocation("other", now + 1)]);
    let ended = tokio::time::timeout(WAIT, other.read_chunk()).await.expect("it ends in time");
    assert!(!matches!(ended, Ok(Some(_))));
    let by = format!("src.by={}", cluster.identity("waypoint"));
    two.logged(&["reason=Revoked", &format!("src.identity={}", cluster.identity("other")), &by]).await;
    assert_eq!(ask(&mut planner, "c").await.as_deref(), Some("tools c\n"));
    drop(planner);
    two.logged(&["direction=inbound", &format!("src.identity={}", cluster.identity("planner")), &by]).await;
}

#[tokio::test]
async fn only_the_workloads_uid_may_use_its_proxy() {
    let (cluster, one, _two, _echo) = world(87).await;
    drop(first(&cluster).await);
    let mine = std::fs::metadata("/proc/self").map(|it| std::os::unix::fs::MetadataExt::uid(&it)).unwrap();
    for (uid, may) in [(mine, true), (mine + 1, false)] {
        let shape = Shape { node: "node-1", last: PLANNER, proxy: true, uid: Some(uid), ..Shape::default() };
        cluster.publish(cluster.workload("planner", shape));
        let proxy = cluster.proxy(PLANNER);
        eventually("the uid counts", async || {
            let Ok(mut stream) = tokio::net::TcpStream::connect(proxy).await else { return false };
            let request =
                format!("CONNECT tools:80 HTTP/1.1\r\nproxy-authorization: Basic {}\r\n\r\n", basic(TOKEN));
            let _ = stream.write_all(request.as_bytes()).await;
            Client(stream).until("\r\n\r\n").await.starts_with("HTTP/1.1 200") == may
        })
        .await;
    }
    one.logged(&["reason=WrongUid"]).await;
}
