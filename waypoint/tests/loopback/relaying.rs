//! Streams whose bytes nobody reads: TCP services, and inner tunnels at an east-west gateway.

use std::collections::BTreeMap;

use mesh::{Peer, resource::*};
use transport::{
    Expected, Pool,
    hbone::ConnectRequest,
    pool::{Destination, Inner},
};

use crate::support::*;

/// The service `raw` is served by the echo port of the nodes.
fn echoing(plan: &mut Plan) {
    for workload in &mut plan.workloads {
        if let Some(mappings) = workload.services.get_mut(RAW) {
            *mappings = vec![PortMapping { service: 80, target: 9090 }];
        }
    }
}

#[tokio::test]
async fn bytes_are_relayed_both_ways_and_each_direction_ends_by_itself() {
    let mesh = Mesh::with(echoing).await;
    let mut stream = mesh.stream("lab/planner", RAW_VIP).await.expect("it is accepted");
    stream.write_chunks(["hello ".into(), "there".into()]).await.unwrap();
    stream.finish().await.unwrap();
    let mut all = Vec::new();
    while let Some(chunk) = stream.read_chunk().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    assert_eq!(all, b"hello there");
    let seen: Vec<_> = mesh.nodes.iter().flat_map(|node| node.seen.lock().clone()).collect();
    assert_eq!(seen[0].caller.workload, Peer::Verified(identity("lab/planner")));
}

#[tokio::test]
async fn a_policy_refuses_before_anything_is_dialled() {
    let mesh = Mesh::with(|plan| {
        echoing(plan);
        plan.policies.push(policy("grants", Action::Allow, "lab/planner", None));
        plan.sets.push(set("raw", &["grants"], DefaultAccess::None));
        plan.services[1].ports = BTreeMap::from([(80, port(Protocol::Tcp, "raw"))]);
    })
    .await;
    assert!(mesh.stream("lab/planner", RAW_VIP).await.is_ok());
    let error = mesh.stream("lab/intern", RAW_VIP).await.expect_err("it is refused");
    let (status, denied) = error.refusal().expect("an answer");
    assert_eq!(status, 401);
    assert!(denied.is_some_and(|denied| denied.ends_with("reason=NoGrant")), "{denied:?}");
}

#[tokio::test]
async fn a_layer_7_policy_on_bytes_grants_nothing_and_denies() {
    let http = Operation { http: Some(HttpTerm::default()), ..Operation::default() };
    for (action, default_access) in
        [(Action::Allow, DefaultAccess::None), (Action::Deny, DefaultAccess::Open)]
    {
        let mesh = Mesh::with(|plan| {
            echoing(plan);
            plan.policies.push(policy("l7", action, "lab/planner", Some(http.clone())));
            plan.sets.push(set("raw", &["l7"], default_access.clone()));
            plan.services[1].ports = BTreeMap::from([(80, port(Protocol::Tcp, "raw"))]);
        })
        .await;
        assert!(mesh.stream("lab/planner", RAW_VIP).await.is_err(), "{action:?}");
    }
}

#[tokio::test]
async fn a_stream_that_is_no_longer_allowed_is_closed_and_others_go_on() {
    let mesh = Mesh::with(|plan| {
        echoing(plan);
        plan.sets.push(set("raw", &[], DefaultAccess::Open));
        plan.services[1].ports = BTreeMap::from([(80, port(Protocol::Tcp, "raw"))]);
    })
    .await;
    let mut planner = mesh.stream("lab/planner", RAW_VIP).await.unwrap();
    let mut intern = mesh.stream("lab/intern", RAW_VIP).await.unwrap();
    for stream in [&mut planner, &mut intern] {
        stream.write_chunks(["x".into()]).await.unwrap();
        assert_eq!(stream.read_chunk().await.unwrap().as_deref(), Some(&b"x"[..]));
    }
    let denies = policy("denies", Action::Deny, "lab/intern", None);
    let closed = mesh.apply(vec![
        Resource::Policy(denies.into()),
        Resource::PolicySet(set("raw", &["denies"], DefaultAccess::Open).into()),
    ]);
    assert_eq!(closed, 1);
    let ended = tokio::time::timeout(PATIENCE, intern.read_chunk()).await.expect("in time");
    assert!(!matches!(ended, Ok(Some(_))), "{ended:?}");
    planner.write_chunks(["y".into()]).await.unwrap();
    assert_eq!(planner.read_chunk().await.unwrap().as_deref(), Some(&b"y"[..]));
}

fn east_west(plan: &mut Plan) {
    plan.listeners[0].role = ListenerRole::EastWest;
    let web = &mut plan.services[0];
    web.binding = Binding::None;
    web.exported_to = ["west".parse().unwrap()].into();
    for workload in &mut plan.workloads {
        workload.other_ports.admission = Admission::Direct;
        workload.other_ports.vouchers = Vec::new();
    }
}

#[tokio::test]
async fn a_gateway_forwards_an_inner_tunnel_by_exported_name_and_does_not_open_it() {
    let mesh = Mesh::with(east_west).await;
    let caller = identity("spiffe://west/ns/agents/sa/planner");
    let credential = mesh.west.credential(&caller, &[&mesh.authority]);
    let pool = Pool::new(transport::pool::Config::default());
    let authority: transport::hbone::Authority = "web.shop.svc.cluster.local:80".parse().unwrap();
    let gateway = Destination {
        source: "caller".into(),
        address: mesh.address,
        peers: Expected::from(identity("shop/waypoint")),
    };
    let inner = Inner {
        service: authority.clone(),
        peers: Expected::new([identity("shop/web-1"), identity("shop/web-2")]),
        capacity: 1,
    };
    let request = || ConnectRequest::to(authority.clone());
    let stream = pool.connect_nested(&gateway, &inner, &credential, request(), request());
    let stream = tokio::time::timeout(PATIENCE, stream).await.expect("in time").expect("a stream");
    // The far end is the workload, which knows the caller by its own certificate.
    assert!(stream.peer().expect("a peer").identity.to_string().contains("/sa/web-"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = sender.send_request(crate::support::request("/").body(body("")).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen: Vec<_> = mesh.nodes.iter().flat_map(|node| node.seen.lock().clone()).collect();
    assert_eq!(seen[0].caller.workload, Peer::Verified(caller));
    assert_eq!(seen[0].caller.by, None);
}

#[tokio::test]
async fn a_gateway_forwards_nothing_that_is_not_exported_to_the_peer() {
    let mesh = Mesh::with(east_west).await;
    let west = "spiffe://west/ns/agents/sa/planner";
    for (caller, to, status) in [
        (west, "raw.shop.svc.cluster.local:80", 401),
        (west, "gone.shop.svc.cluster.local:80", 401),
        (west, "web.shop.svc.cluster.local:81", 400),
        ("lab/planner", "web.shop.svc.cluster.local:80", 401),
        (west, "10.20.255.1:80", 400),
        (west, "10.20.0.10:8080", 400),
    ] {
        let error = mesh.stream(caller, to).await.expect_err("it is refused");
        assert_eq!(error.refusal().map(|(status, _)| status), Some(status), "{caller} {to}: {error}");
    }
}
