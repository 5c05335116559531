//! Streams: each event is judged when it passes, and its ids are sealed.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use std::collections::VecDeque;

use bytes::Bytes;
use exchange::{Body, BodyError, Request, Response};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mesh::{Denial, Reason};
use serde_json::{Value, json};
use support::{World, message, rest, rpc};

fn events(chunks: Vec<Bytes>) -> Response {
    let chunks: VecDeque<_> =
        chunks.into_iter().map(|chunk| Ok::<_, BodyError>(Frame::data(chunk))).collect();
    let body = Body::piped(StreamBody::new(stream::iter(chunks)));
    http::Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

fn update(rpc: bool) -> Value {
    let update =
        json!({"statusUpdate": {"taskId": "task-1", "contextId": "c", "status": {"state": "w\u{f6}rking"}}});
    if rpc { json!({"jsonrpc": "2.0", "id": 1, "result": update}) } else { update }
}

/// An agent that streams this text in chunks of so many bytes.
fn streaming(text: String, size: usize) -> World {
    World::new(move |_, _| Ok(events(text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect())))
}

fn stream_of(rpc_binding: bool) -> Request {
    if rpc_binding {
        rpc("SendStreamingMessage", message(json!({})))
    } else {
        rest("POST", "/message:stream", message(json!({})))
    }
}

fn data(body: &str) -> Vec<Value> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn ids_are_sealed_however_the_stream_is_cut() {
    for by_rpc in [true, false] {
        let text =
            format!(": keep-alive\n\ndata: {}\n\nevent: x\ndata: {}\n\n", update(by_rpc), update(by_rpc));
        for size in [1, 2, 3, 7, 1000] {
            let answer = streaming(text.clone(), size).ask(stream_of(by_rpc)).await;
            let events = data(&answer.body);
            assert_eq!(events.len(), 2);
            for event in &events {
                let update = &event.get("result").unwrap_or(event)["statusUpdate"];
                assert!(update["taskId"] != "task-1" && update["contextId"] != "c");
                assert_eq!(update["status"]["state"], "w\u{f6}rking");
            }
            assert_eq!(events[0], events[1]);
            assert!(answer.body.starts_with(": keep-alive\n\n") && answer.body.contains("event: x\n"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_for_certain_ends_the_stream_well_formed() {
    for by_rpc in [true, false] {
        for bad in [
            "data: nonsense\n\n",
            "data: []\n\n",
            "data: {\"result\":{\"taskId\":7},\"taskId\":7}\n\n",
            "data: {\"a\":1,\"a\":2}\n\n",
        ] {
            let text = format!("data: {}\n\n{bad}data: {}\n\n", update(by_rpc), update(by_rpc));
            let answer = streaming(text, 1000).ask(stream_of(by_rpc)).await;
            let events = data(&answer.body);
            assert_eq!(events.len(), 2, "{bad}");
            let code = if by_rpc { -32006 } else { 502 };
            assert_eq!(events[1]["error"]["code"], code);
            assert_eq!(answer.body.contains("event: error\n"), !by_rpc);
        }
    }
    // Not UTF-8.
    let world = World::new(|_, _| Ok(events(vec![Bytes::from_static(b"data: \"\xff\"\n\n")])));
    assert_eq!(data(&world.ask(stream_of(true)).await.body)[0]["error"]["code"], -32006);
}

#[tokio::test]
async fn a_grant_that_is_withdrawn_ends_the_stream_with_an_error() {
    for by_rpc in [true, false] {
        let text = format!("data: {}\n\n", update(by_rpc));
        let world = streaming(text.repeat(3), text.len());
        let mut body = world.respond(stream_of(by_rpc)).await.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.starts_with(b"data: "));
        world.grants.set(&["GetTask"]);
        let rest = body.collect().await.unwrap().to_bytes();
        let rest = String::from_utf8(rest.to_vec()).unwrap();
        let events = data(&rest);
        assert_eq!((events.len(), &events[0]["error"]["code"]), (1, &json!(403)));
        assert!(rest.contains("\"r1\""));
    }
}

#[tokio::test]
async fn a_stream_that_is_closed_from_outside_ends_with_an_error() {
    let world = World::new(|_, _| {
        let body = Body::piped(StreamBody::new(stream::pending::<Result<Frame<Bytes>, BodyError>>()));
        Ok(http::Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
    });
    let body = world.respond(stream_of(true)).await.into_body();
    world.closing.close(Denial::plain(Reason::NoLongerAllowed, "withdrawn"));
    let all = body.collect().await.unwrap().to_bytes();
    assert_eq!(data(std::str::from_utf8(&all).unwrap())[0]["error"]["data"][0]["metadata"]["id"], "r1");
}

#[tokio::test]
async fn events_are_bounded_on_both_sides() {
    let limit = 4096;
    let config = a2a::Config { event_bytes_max: limit, ..a2a::Config::default() };
    let text = |length: usize| {
        let event = |pad: usize| format!("data: {{\"result\":{{\"pad\":\"{}\"}}}}\n\n", "x".repeat(pad));
        event(length - event(0).len())
    };
    for (length, whole) in [(limit, true), (limit + 1, false)] {
        let mut world = streaming(text(length), 100);
        world.responder = support::responder(config.clone());
        let body = world.respond(stream_of(true)).await.into_body();
        assert_eq!(body.collect().await.is_ok(), whole, "{length}");
    }
}
