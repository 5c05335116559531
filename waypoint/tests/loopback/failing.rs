//! Endpoints that fail, and what becomes of requests meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mesh::resource::{Health, Resource};

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
