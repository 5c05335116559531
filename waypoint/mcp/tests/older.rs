//! Each policy holds in each revision, said or not said, alone or in a batch.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use std::sync::Arc;

use exchange::{Body, Request};
use http::StatusCode;
use mesh::{
    Reason,
    resource::{Authorizer, AuthorizerProtocol, BackendTarget, Millis},
};
use serde_json::{Value, json};
use support::{World, intern, new, old, response};

/// Every revision with sessions, and none said.
const OLDER: [Option<&str>; 5] =
    [None, Some("2024-11-05"), Some("2025-03-26"), Some("2025-06-18"), Some("2025-11-25")];

fn saying(version: Option<&str>, body: &Value) -> Request {
    let mut request = old(body.to_string());
    match version {
        Some(version) => request.headers_mut().insert("mcp-protocol-version", version.parse().unwrap()),
        None => request.headers_mut().remove("mcp-protocol-version"),
    };
    request
}

fn request(id: u32, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn call(id: u32, name: &str, repo: &str) -> Value {
    request(id, "tools/call", json!({"name": name, "arguments": {"repo": repo}}))
}

/// A server that lists two tools and answers everything, `search` as a stream of events.
fn world() -> World {
    let world = World::new(|_, body| {
        let message: Value = serde_json::from_slice(body).unwrap();
        let id = &message["id"];
        let result = match message["method"].as_str() {
            Some("tools/list") => json!({"tools": [{"name": "search"}, {"name": "write"}]}),
            Some("initialize") => json!({"protocolVersion": "2025-03-26"}),
            _ => json!({"content": []}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
        Ok(match message["params"]["name"].as_str() {
            _ if id.is_null() => http::Response::builder().status(202).body(Body::empty()).unwrap(),
            Some("search") => response("text/event-stream", format!("data: {answer}\n\n")),
            _ => response("application/json", answer.to_string()),
        })
    });
    world.grants.set(&["search", "read"]);
    world
}

#[tokio::test]
async fn attack_old_protocol_version_skips_no_check() {
    for version in OLDER {
        let world = world();
        let ask = |body: Value| world.ask(saying(version, &body));
        let list = ask(request(1, "tools/list", json!({}))).await.json();
        assert_eq!(list["result"]["tools"], json!([{"name": "search"}]), "{version:?}");
        let reached = world.reached();
        assert_eq!(ask(call(1, "write", "docs")).await.json()["error"]["code"], -32602, "{version:?}");
        let argument = ask(call(1, "read", "secret")).await.json();
        assert_eq!(argument["error"]["data"]["pointer"], "/repo", "{version:?}");
        assert_eq!(ask(request(1, "tasks/get", json!({}))).await.json()["error"]["code"], -32601);
        // In the form of a task, it is a call all the same.
        let task = request(1, "tools/call", json!({"name": "write", "task": {"ttl": 1}}));
        assert_eq!(ask(task).await.json()["error"]["code"], -32602, "{version:?}");
        assert_eq!(world.reached(), reached);
        assert_eq!(ask(call(1, "read", "docs")).await.status, StatusCode::OK);
    }
    for version in ["2099-01-01", "2024-11-5", "", "draft"] {
        let world = world();
        let answer = world.ask(saying(Some(version), &call(1, "read", "docs"))).await;
        assert_eq!((answer.status, world.reached()), (StatusCode::BAD_REQUEST, 0), "{version}");
        let answer = world.ask(saying(Some(version), &json!([call(1, "read", "docs")]))).await;
        assert_eq!((answer.status, world.reached()), (StatusCode::BAD_REQUEST, 0), "{version}");
    }
    let world = world();
    for (name, arguments) in [("write", json!({})), ("read", json!({"repo": "secret"}))] {
        let answer = world.ask(new("tools/call", json!({"name": name, "arguments": arguments}))).await;
        assert_eq!((answer.status, world.reached()), (StatusCode::BAD_REQUEST, 0));
    }
}

#[tokio::test]
async fn attack_a_batch_is_no_way_around_a_policy() {
    for version in [None, Some("2024-11-05"), Some("2025-03-26")] {
        let world = world();
        let batch = json!([
            call(1, "read", "docs"),
            call(2, "write", "docs"),
            call(3, "read", "secret"),
            request(4, "tools/list", json!({})),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
        ]);
        let answer = world.ask(saying(version, &batch)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let answers = answer.json();
        let of = |id: u32| answers.as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone();
        assert_eq!(answers.as_array().unwrap().len(), 4);
        assert!(of(1).get("result").is_some());
        assert_eq!(of(2)["error"]["code"], -32602);
        assert_eq!(of(3)["error"]["data"]["pointer"], "/repo");
        assert_eq!(of(4)["result"]["tools"], json!([{"name": "search"}]));
        assert_eq!(world.reached(), 3);
        assert_eq!(world.refusals.0.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn an_external_authorizer_is_asked_about_each_message_of_a_batch() {
    let world = world();
    *world.grants.authorizer.lock().unwrap() = Some(Arc::new(Authorizer {
        target: BackendTarget::Broken("nowhere".into()),
        protocol: AuthorizerProtocol::Grpc,
        timeout: Millis(1000),
        headers: Vec::new(),
        upstream_headers: Vec::new(),
        body_bytes: 1024,
    }));
    let batch = json!([
        call(1, "read", "docs"),
        call(2, "read", "web"),
        call(3, "read", "docs"),
        request(4, "tools/list", json!({})),
    ]);
    let answers = world.ask(saying(None, &batch)).await.json();
    let of = |id: u32| answers.as_array().unwrap().iter().find(|it| it["id"] == id).unwrap().clone();
    assert!(of(1).get("result").is_some() && of(3).get("result").is_some(), "{answers}");
    assert!(of(2).get("error").is_some(), "{answers}");
    assert_eq!((world.reached(), world.server.asked.lock().unwrap().len()), (3, 3));
    assert_eq!(world.refusals.0.lock().unwrap()[0].reason, Reason::ExternalDenied);
    let reached = world.server.reached.lock().unwrap();
    let granted = reached.iter().filter(|(parts, ..)| parts.headers.contains_key("x-granted")).count();
    assert_eq!(granted, 2, "the list asks nobody");
}

#[tokio::test]
async fn a_batch_with_a_stream_is_a_stream() {
    let world = world();
    let batch = json!([call(1, "search", "docs"), call(2, "write", "docs"), call(3, "read", "docs")]);
    let answer = world.ask(saying(None, &batch)).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    for id in 1..=3 {
        assert_eq!(answer.body.matches(&format!("\"id\":{id},")).count(), 1, "{}", answer.body);
    }
}

#[tokio::test]
async fn batches_are_bounded_and_of_their_revisions() {
    let world = world();
    let many = |count: u32| Value::Array((0..count).map(|id| call(id, "read", "docs")).collect());
    assert_eq!(world.ask(saying(None, &many(64))).await.status, StatusCode::OK);
    let reached = world.reached();
    for (version, batch) in [
        (None, many(65)),
        (None, json!([])),
        (None, json!([[]])),
        (None, json!([1])),
        (None, json!([call(1, "read", "docs"), call(1, "read", "docs")])),
        (None, json!([request(1, "initialize", json!({}))])),
        (Some("2025-06-18"), many(1)),
        (Some("2025-11-25"), many(1)),
        (Some("2026-07-28"), many(1)),
    ] {
        let answer = world.ask(saying(version, &batch)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{version:?} {batch}");
    }
    // One that says the newest revision inside, or repeats one message in its head.
    let mut inner = call(1, "read", "docs");
    inner["params"]["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
    assert_eq!(world.ask(saying(None, &json!([inner]))).await.status, StatusCode::BAD_REQUEST);
    let mut repeated = saying(None, &many(1));
    repeated.headers_mut().insert("mcp-name", "read".parse().unwrap());
    assert_eq!(world.ask(repeated).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.reached(), reached);
}

#[tokio::test]
async fn nobody_who_is_granted_nothing_learns_from_a_batch() {
    let mut world = world();
    world.grants.set(&[]);
    world.caller = intern();
    let answer = world.ask(saying(None, &json!([call(1, "read", "docs")]))).await;
    assert_eq!((answer.status, world.reached()), (StatusCode::FORBIDDEN, 0));
    assert_eq!(world.refusals.0.lock().unwrap()[0].reason, Reason::NoGrant);
}

#[tokio::test]
async fn the_transport_of_2024_11_05_posts_to_a_sealed_place() {
    let mut world = World::new(|parts, _| {
        let list =
            json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [{"name": "search"}, {"name": "write"}]}});
        let stream =
            format!("event: endpoint\ndata: /messages/?session_id=0123\n\nevent: message\ndata: {list}\n\n");
        Ok(match parts.method {
            http::Method::GET => response("text/event-stream", stream),
            _ => http::Response::builder().status(202).body(Body::held_bytes("Accepted")).unwrap(),
        })
    });
    world.grants.set(&["search"]);
    let mut get = saying(None, &json!({}));
    *get.method_mut() = http::Method::GET;
    *get.uri_mut() = "http://tools.shop/sse".parse().unwrap();
    let answer = world.ask(get).await;
    assert!(!answer.body.contains("0123") && !answer.body.contains("write"), "{}", answer.body);
    let place = answer.body.lines().find_map(|line| line.strip_prefix("data: /messages/")).unwrap();
    let post = |place: &str, body: &Value| {
        let mut request = saying(None, body);
        *request.uri_mut() = format!("http://tools.shop/messages/{place}").parse().unwrap();
        request
    };
    let call = |name: &str| call(1, name, "docs");
    assert_eq!(world.ask(post(place, &call("search"))).await.status, StatusCode::ACCEPTED);
    let (parts, _, pin) = world.server.reached.lock().unwrap().pop().unwrap();
    assert_eq!((parts.uri.to_string().as_str(), pin.is_some()), ("/messages/?session_id=0123", true));
    // What is not granted does not reach the server, nor does a changed place or somebody else's.
    let reached = world.reached();
    assert_eq!(world.ask(post(place, &call("write"))).await.json()["error"]["code"], -32602);
    assert_eq!(world.ask(post(&format!("{place}A"), &call("search"))).await.status, StatusCode::NOT_FOUND);
    world.caller = intern();
    assert_eq!(world.ask(post(place, &call("search"))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.reached(), reached);
}
