//! What a swap closes, how, and what it leaves alone.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use mesh::resource::*;
use tokio::sync::broadcast;

use crate::support::*;

/// An application that streams what the test says, with a content type.
fn streaming(kind: &'static str, chunks: &broadcast::Sender<&'static str>) -> App {
    let chunks = chunks.clone();
    app(move |_| {
        let chunks = chunks.subscribe();
        async move {
            let stream = futures_util::stream::unfold(chunks, |mut chunks| async move {
                let chunk = chunks.recv().await.ok()?;
                Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk.as_bytes()))), chunks))
            });
            let mut response = http::Response::new(StreamBody::new(stream).boxed_unsync());
            response.headers_mut().insert("content-type", kind.parse().unwrap());
            response
        }
    })
}

async fn open(kind: &'static str, open: DefaultAccess) -> (Mesh, broadcast::Sender<&'static str>) {
    let (chunks, _) = broadcast::channel(16);
    let mesh = Mesh::serving(&[("web-1", streaming(kind, &chunks))], |plan| {
        plan.sets.push(set("web", &[], open));
        plan.services[0].ports.insert(80, port(Protocol::Http, "web"));
    })
    .await;
    (mesh, chunks)
}

fn deny(caller: &str) -> Vec<Resource> {
    vec![
        Resource::Policy(policy("denies", Action::Deny, caller, None).into()),
        Resource::PolicySet(set("web", &["denies"], DefaultAccess::Open).into()),
    ]
}

async fn first(response: &mut http::Response<hyper::body::Incoming>) -> Option<Result<Bytes, hyper::Error>> {
    let frame = tokio::time::timeout(PATIENCE, response.frame()).await.expect("in time")?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

#[tokio::test]
async fn a_new_denial_closes_the_callers_stream_and_no_other() {
    let (mesh, chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut planner = mesh.http1("lab/planner", WEB_VIP).await;
    let mut intern = mesh.http1("lab/intern", WEB_VIP).await;
    let mut of_planner = planner.send(request("/").body(body("")).unwrap()).await;
    let mut of_intern = intern.send(request("/").body(body("")).unwrap()).await;
    chunks.send("data: 1\n\n").unwrap();
    assert_eq!(first(&mut of_planner).await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(first(&mut of_intern).await.unwrap().unwrap(), "data: 1\n\n");
    assert_eq!(mesh.apply(deny("lab/intern")), 1);
    // A stream of events ends well-formed.
    assert!(first(&mut of_intern).await.is_none());
    chunks.send("data: 2\n\n").unwrap();
    assert_eq!(first(&mut of_planner).await.unwrap().unwrap(), "data: 2\n\n");
    assert_eq!(intern.get("/").await.status, 403);
}

#[tokio::test]
async fn what_has_no_well_formed_end_is_cut() {
    let (mesh, chunks) = open("application/octet-stream", DefaultAccess::Open).await;
    let mut intern = mesh.http1("lab/intern", WEB_VIP).await;
    let mut response = intern.send(request("/").body(body("")).unwrap()).await;
    chunks.send("half").unwrap();
    assert_eq!(first(&mut response).await.unwrap().unwrap(), "half");
    assert_eq!(mesh.apply(deny("lab/intern")), 1);
    assert!(first(&mut response).await.unwrap().is_err());
}

#[tokio::test]
async fn a_grpc_stream_ends_with_a_status() {
    let (mesh, chunks) = open("application/grpc", DefaultAccess::Open).await;
    let mut intern = mesh.http2("lab/intern", WEB_VIP).await;
    let asked = http::Request::post("http://web.shop/svc/Stream").header("content-type", "application/grpc");
    let mut response = intern.send(asked.body(body("")).unwrap()).await;
    chunks.send("message").unwrap();
    assert_eq!(first(&mut response).await.unwrap().unwrap(), "message");
    assert_eq!(mesh.apply(deny("lab/intern")), 1);
    let frame = tokio::time::timeout(PATIENCE, response.frame()).await.expect("in time").unwrap().unwrap();
    assert_eq!(frame.trailers_ref().expect("trailers")["grpc-status"], "7");
}

#[tokio::test]
async fn changes_that_concern_nobody_judge_and_close_nothing() {
    let (mesh, chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut planner = mesh.http1("lab/planner", WEB_VIP).await;
    let mut response = planner.send(request("/").body(body("")).unwrap()).await;
    assert_eq!(mesh.apply(vec![Resource::PolicySet(set("other", &[], DefaultAccess::None).into())]), 0);
    assert_eq!(mesh.apply(deny("lab/intern")), 0);
    let revocation =
        Revocation { identity: identity("lab/intern"), issued_before: u64::MAX / 2, reason: "lost".into() };
    assert_eq!(mesh.apply(vec![Resource::Revocation(revocation.into())]), 0);
    chunks.send("data: 1\n\n").unwrap();
    assert_eq!(first(&mut response).await.unwrap().unwrap(), "data: 1\n\n");
}

#[tokio::test]
async fn revoking_one_caller_closes_its_streams_and_not_the_others() {
    let (mesh, chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut planner = mesh.http1("lab/planner", WEB_VIP).await;
    let mut intern = mesh.http1("lab/intern", WEB_VIP).await;
    let mut of_planner = planner.send(request("/").body(body("")).unwrap()).await;
    let mut of_intern = intern.send(request("/").body(body("")).unwrap()).await;
    let revocation =
        Revocation { identity: identity("lab/intern"), issued_before: u64::MAX / 2, reason: "lost".into() };
    assert_eq!(mesh.apply(vec![Resource::Revocation(revocation.into())]), 1);
    assert!(first(&mut of_intern).await.is_none());
    // Neither by the stream that is open nor by a new one does it get in again.
    assert_eq!(intern.get("/").await.status, 403);
    assert!(mesh.stream("lab/intern", WEB_VIP).await.is_err());
    chunks.send("data: 1\n\n").unwrap();
    assert_eq!(first(&mut of_planner).await.unwrap().unwrap(), "data: 1\n\n");
}

#[tokio::test]
async fn a_revoked_endpoint_answers_nobody_any_more() {
    let (mesh, chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut planner = mesh.http1("lab/planner", WEB_VIP).await;
    let mut response = planner.send(request("/").body(body("")).unwrap()).await;
    chunks.send("data: 1\n\n").unwrap();
    assert_eq!(first(&mut response).await.unwrap().unwrap(), "data: 1\n\n");
    let revocation =
        Revocation { identity: identity("shop/web-1"), issued_before: u64::MAX / 2, reason: "lost".into() };
    assert_eq!(mesh.apply(vec![Resource::Revocation(revocation.into())]), 1);
    assert!(first(&mut response).await.is_none());
    // Neither by the tunnel that is open nor by a new one.
    assert_eq!(mesh.get("lab/planner", "/").await.status, 503);
    assert_eq!(mesh.get("lab/planner", "/").await.status, 503);
}

#[tokio::test]
async fn a_trust_domain_that_is_unlinked_loses_its_streams() {
    let (mesh, _chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut far = mesh.http1("spiffe://west/ns/agents/sa/planner", WEB_VIP).await;
    let mut response = far.send(request("/").body(body("")).unwrap()).await;
    let gone = Key::new(Kind::Bundle, "west");
    assert_eq!(mesh.change(vec![mesh::snapshot::Change::Remove(gone)]), 1);
    assert!(first(&mut response).await.is_none());
}

#[tokio::test]
async fn what_ran_leaves_no_trace() {
    let mesh = Mesh::new().await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
    let connections = mesh.waypoint.connections.clone();
    let empty = async {
        while !connections.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, empty).await.expect("nothing runs");
    let _ = Arc::strong_count(&mesh.waypoint);
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_exchange() {
    let (mesh, _chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let response = client.send(request("/").body(body("")).unwrap()).await;
    assert_eq!(mesh.waypoint.connections.len(), 1);
    drop((response, client));
    let connections = mesh.waypoint.connections.clone();
    let empty = async {
        while !connections.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, empty).await.expect("nothing runs");
}

#[tokio::test]
async fn a_drain_lets_what_runs_end_and_takes_nothing_new() {
    let (mesh, chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let mut response = client.send(request("/").body(body("")).unwrap()).await;
    mesh.drain.advance(runtime::Phase::Draining);
    chunks.send("data: 1\n\n").unwrap();
    assert_eq!(first(&mut response).await.unwrap().unwrap(), "data: 1\n\n");
    drop(chunks);
    drop(mesh.nodes);
    // The connection ends with its exchange: what is still running is only the stream that we end here.
    drop(response);
    drop(client);
    let drained = mesh.drain.finish(PATIENCE, std::time::Duration::ZERO).await;
    assert_eq!(drained, runtime::drain::Drained::Complete);
}

#[tokio::test]
async fn a_waypoint_that_is_nobody_any_more_serves_nothing_that_is_open() {
    let (mesh, chunks) = open("text/event-stream", DefaultAccess::Open).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let mut response = client.send(request("/").body(body("")).unwrap()).await;
    chunks.send("data: 1\n\n").unwrap();
    assert_eq!(first(&mut response).await.unwrap().unwrap(), "data: 1\n\n");
    let ended = mesh::Denial::plain(mesh::Reason::CertificateEnded, "for a test");
    mesh.waypoint.connections.sever(&ended);
    assert!(!matches!(first(&mut response).await, Some(Ok(_))));
    let Client::Http1(mut sender) = client else { panic!("it is an HTTP/1.1 client") };
    let again = async {
        match sender.ready().await {
            Ok(()) => sender.send_request(request("/").body(body("")).unwrap()).await.map(drop),
            Err(error) => Err(error),
        }
    };
    assert!(tokio::time::timeout(PATIENCE, again).await.expect("in time").is_err());
}
