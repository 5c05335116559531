//! A call over three hops: its spans are one trace, and the connections that carried it are linked.

use std::collections::BTreeSet;

use runtime::{
    Span, TraceContext,
    spans::{Link, SpanKind},
};
use transport::hbone::{ConnectRequest, Origin};

use crate::support::*;

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NODE: &str = "00-11111111111111111111111111111111-2222222222222222-00";

#[tokio::test]
async fn a_call_is_one_trace_and_linked_to_what_carried_it() {
    let mesh = Mesh::serving(&[("web-1", telling("web-1"))], |_| ()).await;
    let credential = mesh.authority.credential(&identity("lab/planner"), &[]);
    let connect = || {
        let mut connect = ConnectRequest::to(WEB_VIP.parse().unwrap());
        connect.trace = Some(NODE.to_owned());
        connect
    };
    let mut carriers = Vec::new();
    for _ in 0..2 {
        let stream = mesh.stream_as(&credential, connect()).await.expect("a stream");
        let io = hyper_util::rt::TokioIo::new(stream);
        let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut client = Client::Http1(sender);
        let request = request("/").header("traceparent", CALLER).header("tracestate", "a=1");
        let answer = client.whole(request.body(body("")).unwrap()).await;
        let trace = TraceContext::parse(CALLER).unwrap();
        let spans = mesh.waypoint.report.spans.of(trace.trace);
        let own: &Span = spans.first().expect("the request has a span");
        assert_eq!((own.parent, own.kind, own.sampled), (Some(trace.span), SpanKind::Server, true));
        // The application continues with our span, and what vendors said.
        assert!(
            answer.body.contains(&format!("traceparent: 00-{}-{}-01", trace.trace, own.id)),
            "{answer:?}"
        );
        assert!(answer.body.contains("tracestate: a=1"), "{answer:?}");
        assert_eq!(own.links.len(), 2, "{own:?}");
        carriers.push(own.links.clone());
        let carrier = |link: &Link| {
            let spans = mesh.waypoint.report.spans.of(link.trace);
            spans.into_iter().find(|span| span.id == link.span).expect("what carries it has a span")
        };
        // The way in belongs to the caller's node; the way out was told to the server's node.
        let (inbound, outbound) = (carrier(&own.links[0]), carrier(&own.links[1]));
        let node = TraceContext::parse(NODE).unwrap();
        assert_eq!((inbound.trace, inbound.parent), (node.trace, Some(node.span)));
        let told: BTreeSet<_> =
            mesh.node("web-1").seen.lock().iter().map(|seen| seen.trace.clone()).collect();
        let said = format!("00-{}-{}-00", outbound.trace, outbound.id);
        assert_eq!(told, BTreeSet::from([Some(said)]), "one connection carried both");
    }
    assert_ne!(carriers[0][0], carriers[1][0]);
    assert_eq!(carriers[0][1], carriers[1][1]);
}

#[tokio::test]
async fn a_context_that_cannot_be_read_is_not_continued() {
    let mesh = Mesh::new().await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let twice = request("/").header("traceparent", CALLER).header("traceparent", CALLER);
    let answer = client.whole(twice.header("tracestate", "a=1").body(body("")).unwrap()).await;
    assert!(answer.body.contains("traceparent: 00-"), "{answer:?}");
    assert!(!answer.body.contains(&CALLER[3..35]) && !answer.body.contains("tracestate"), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_is_in_the_span_with_its_reason() {
    let mesh = Mesh::new().await;
    let credential = mesh.authority.credential(&identity("lab/intern"), &[]);
    let mut forged = ConnectRequest::to(WEB_VIP.parse().unwrap());
    forged.origin = Some(Origin::Unknown);
    assert!(mesh.stream_as(&credential, forged).await.is_err());
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let answer = client.whole(request("/a%2fb").body(body("")).unwrap()).await;
    assert_eq!(answer.status, 400);
    let spans = mesh.waypoint.report.spans.latest(10);
    let refused = spans.iter().find(|span| span.attributes.text("strait.denial.reason").is_some());
    let refused = refused.expect("the refused request has a span");
    assert_eq!(refused.attributes.text("strait.denial.reason"), Some("Malformed"));
    assert_eq!(refused.attributes.text("strait.source"), Some("spiffe://east/ns/lab/sa/planner"));
}
