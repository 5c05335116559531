//! Endpoints that fail, and what becomes of requests meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mesh::resource::{GatewayAddress, Health, Reach, Resource, Workload};
use transport::hbone;

use crate::support::*;

#[tokio::test]
async fn an_endpoint_that_is_gone_costs_no_request() {
    let mesh = Mesh::new().await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..50 {
        names.insert(client.get("/").await.name().to_owned());
    }
    assert_eq!(names.len(), 2, "both serve");
    mesh.node("web-1").stop();
    for _ in 0..50 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.name()), (200, "web-2"));
    }
    mesh.node("web-2").stop();
    let answer = client.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("x-strait-denied"));
    mesh.node("web-1").start();
    assert_eq!(client.get("/").await.name(), "web-1");
}

#[tokio::test]
async fn an_endpoint_that_is_unhealthy_is_not_chosen() {
    let mesh = Mesh::new().await;
    let world = mesh.waypoint.worlds.load();
    let mut sick = mesh::resource::Workload::clone(world.snapshot.workload(&uid("web-1")).unwrap());
    sick.health = Health::Unhealthy;
    drop(world);
    mesh.apply(vec![Resource::Workload(sick.into())]);
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.name(), "web-2");
    }
}

#[tokio::test]
async fn what_may_have_been_received_is_not_sent_twice() {
    let received = Arc::new(AtomicUsize::new(0));
    let dying = {
        let received = Arc::clone(&received);
        app(move |_| {
            received.fetch_add(1, Ordering::SeqCst);
            async move { panic!("the application dies as it is asked") }
        })
    };
    let mesh = Mesh::serving(&[("web-1", dying)], |_| ()).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let asked = request("/").method("POST").body(body("{}")).unwrap();
    assert_eq!(client.whole(asked).await.status, 502);
    assert_eq!(received.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_without_endpoints_is_503() {
    let mesh = Mesh::serving(&[], |_| ()).await;
    assert_eq!(mesh.get("lab/planner", "/").await.status, 503);
}

const GONE: &str = "shop/web.shop.svc.clusterset.local";

/// A gateway of the other cluster that forwards what comes to one tunnel address, and a workload behind it.
async fn elsewhere(mesh: &Mesh) -> (Workload, Arc<AtomicUsize>) {
    let serving = identity("spiffe://west/ns/shop/sa/web");
    let credential = mesh.west.credential(&serving, &[&mesh.authority]);
    let inside = listener();
    let tunnel = address(&inside);
    tokio::spawn(async move {
        while let Ok(socket) = inside.accept().await {
            let mut tunnel = hbone::accept(socket, &credential, &hbone::Limits::default()).await.unwrap();
            tokio::spawn(async move {
                while let Some(connect) = tunnel.next().await {
                    let stream = connect.accept(hbone::ResponseHead::default()).unwrap();
                    let app = telling("west");
                    tokio::spawn(async move {
                        let service = hyper::service::service_fn(move |request| {
                            let app = app.clone();
                            async move { Ok::<_, std::convert::Infallible>(app(request).await) }
                        });
                        let builder = hyper::server::conn::http1::Builder::new();
                        let _ = builder.serve_connection(hyper_util::rt::TokioIo::new(stream), service).await;
                    });
                }
            });
        }
    });
    let gateway = identity("spiffe://west/ns/strait-system/sa/east-west");
    let credential = mesh.west.credential(&gateway, &[&mesh.authority]);
    let outside = listener();
    let at = address(&outside);
    let passed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&passed);
    tokio::spawn(async move {
        while let Ok(socket) = outside.accept().await {
            let mut outer = hbone::accept(socket, &credential, &hbone::Limits::default()).await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                while let Some(connect) = outer.next().await {
                    assert_eq!(connect.authority.to_string(), "web.shop.svc.clusterset.local:80");
                    count.fetch_add(1, Ordering::SeqCst);
                    let to = transport::dial::Target {
                        address: transport::Address::Tcp(tunnel),
                        from: None,
                        timeout: PATIENCE,
                    };
                    let onward = transport::dial::dial(&to).await.unwrap();
                    let stream = connect.accept(hbone::ResponseHead::default()).unwrap();
                    tokio::spawn(async move {
                        let cancel = transport::Cancel::new();
                        transport::relay(stream, onward.into(), &cancel, &Default::default()).await
                    });
                }
            });
        }
    });
    let remote = Workload {
        cluster: "west".into(),
        network: "west".into(),
        node: "".into(),
        addresses: Vec::new(),
        identity: serving.clone(),
        reach: Reach::Gateway {
            gateways: vec![GatewayAddress { address: at, identity: gateway }],
            authority: GONE.split('/').nth(1).unwrap().into(),
            peers: vec![serving],
        },
        ..workload("west", 99, at)
    };
    (crate::support::serving(remote, WEB), passed)
}

#[tokio::test]
async fn when_no_endpoint_here_can_serve_the_other_cluster_does_and_they_come_back() {
    let mesh = Mesh::with(|plan| plan.upstreams.suspect_for = std::time::Duration::from_millis(1)).await;
    let (remote, passed) = elsewhere(&mesh).await;
    mesh.apply(vec![Resource::Workload(remote.into())]);
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    for _ in 0..10 {
        assert!(client.get("/").await.name().starts_with("web-"));
    }
    assert_eq!(passed.load(Ordering::SeqCst), 0);
    mesh.node("web-1").stop();
    mesh.node("web-2").stop();
    for _ in 0..10 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.name()), (200, "west"), "{answer:?}");
    }
    // Our word about callers is not taken there, so we are the caller, and the application is told who called us.
    assert!(client.get("/").await.body.contains("URI=spiffe://east/ns/lab/sa/planner"));
    mesh.node("web-1").start();
    let back = async { while client.get("/").await.name() != "web-1" {} };
    tokio::time::timeout(PATIENCE, back).await.expect("it comes back");
}
