//! What is not granted does not exist, and who is granted nothing is told so.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use exchange::{Body, CallError};
use http::StatusCode;
use mesh::{Denial, Reason};
use serde_json::json;
use support::{World, call, new, old, responder, response};

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

fn world() -> World {
    let world = World::answering("application/json", RESULT);
    world.grants.set(&["search", "prompt", "docs://a"]);
    world
}

#[tokio::test]
async fn what_is_granted_passes_byte_by_byte() {
    let world = world();
    let request = "{ \"jsonrpc\":\"2.0\", \"id\":1,\"method\":\"tools/call\",\"x\":[1.50],\n \"params\":{\"name\":\"search\"}}";
    let answer = world.ask(old(request)).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, RESULT));
    assert_eq!(world.server.reached.lock().unwrap()[0].1, request.as_bytes());
    assert!(world.refusals.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn attack_list_versus_call_a_hidden_tool_does_not_exist() {
    let world = world();
    let answer = world.ask(call("write", json!({}))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.json(),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Unknown tool: write", "data": {"id": "r1"}}})
    );
    assert!(!answer.headers.contains_key("x-strait-denied"));
    let answer = world.ask(new("tools/call", json!({"name": "write"}))).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["code"], -32602);
    assert_eq!(world.reached(), 0);
}

#[tokio::test]
async fn an_argument_beyond_its_grant_is_named_and_not_what_is_permitted() {
    let world = world();
    let answer = world.ask(call("search", json!({"repo": "secret"}))).await;
    let error = &answer.json()["error"];
    assert_eq!(error["code"], -32602);
    assert_eq!(error["data"], json!({"id": "r1", "pointer": "/repo"}));
    assert!(!answer.body.contains("docs"), "{}", answer.body);
    // A hidden tool with such an argument is hidden, not explained.
    let answer = world.ask(call("write", json!({"repo": "secret"}))).await;
    assert_eq!(answer.json()["error"]["message"], "Unknown tool: write");
    assert_eq!(world.reached(), 0);
}

#[tokio::test]
async fn prompts_resources_and_methods_hide_likewise() {
    let world = world();
    let answer = world.ask(new("prompts/get", json!({"name": "other"}))).await;
    assert_eq!(answer.json()["error"]["message"], "Unknown prompt: other");
    let answer = world.ask(new("resources/read", json!({"uri": "docs://b"}))).await;
    assert_eq!(answer.json()["error"]["code"], -32602);
    let read = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"docs://b"}}"#;
    assert_eq!(world.ask(old(read)).await.json()["error"]["code"], -32002);
    let answer = world.ask(new("tasks/get", json!({"taskId": "1"}))).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!(-32601)));
    assert_eq!(world.reached(), 0);
}

#[tokio::test]
async fn a_subscription_to_a_hidden_resource_is_refused() {
    let world = world();
    let listen =
        |uri: &str| new("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": [uri]}}));
    assert_eq!(world.ask(listen("docs://a")).await.status, StatusCode::OK);
    let answer = world.ask(listen("docs://b")).await;
    assert_eq!(answer.json()["error"]["code"], -32602);
    assert_eq!(world.reached(), 1);
}

#[tokio::test]
async fn attack_error_paths_tell_nothing_to_who_is_granted_nothing() {
    let world = world();
    world.grants.set(&[]);
    for request in [
        call("search", json!({})),
        new("tools/list", json!({})),
        old(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#),
        old(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        old("garbage"),
        http::Request::get("/").header("accept", "text/event-stream").body(Body::empty()).unwrap(),
        http::Request::delete("/").body(Body::empty()).unwrap(),
        http::Request::put("/").body(Body::empty()).unwrap(),
        old(vec![b' '; 100 << 20]),
    ] {
        let answer = world.ask(request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.json()["error"]["code"], 403);
        let denied = answer.headers["x-strait-denied"].to_str().unwrap();
        assert!(denied.starts_with("id=r") && denied.ends_with("reason=NoGrant"), "{denied}");
    }
    assert_eq!(world.reached(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_own_status() {
    let world = world();
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"write"}}"#;
    let deep = "[".repeat(100_000);
    let html =
        http::Request::post("/").header("content-type", "text/html").body(Body::held_bytes("{}")).unwrap();
    let put = http::Request::put("/").body(Body::empty()).unwrap();
    for (request, status, code) in [
        (old("garbage"), StatusCode::BAD_REQUEST, -32700),
        (old(""), StatusCode::BAD_REQUEST, -32700),
        (old(deep), StatusCode::BAD_REQUEST, -32700),
        (old(&b"\xff\xfe{}"[..]), StatusCode::BAD_REQUEST, -32700),
        (old(batch), StatusCode::BAD_REQUEST, -32600),
        (old(twice), StatusCode::BAD_REQUEST, -32600),
        (old(vec![b' '; 100 << 20]), StatusCode::PAYLOAD_TOO_LARGE, -32600),
        (html, StatusCode::UNSUPPORTED_MEDIA_TYPE, -32600),
        (put, StatusCode::METHOD_NOT_ALLOWED, -32601),
    ] {
        let answer = world.ask(request).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)));
        assert!(answer.headers["x-strait-denied"].to_str().unwrap().contains("id=r"));
    }
    assert_eq!(world.refusals.0.lock().unwrap().len(), 9);
    assert_eq!(world.reached(), 0);
}

#[tokio::test]
async fn a_body_is_bounded_on_both_sides() {
    let world = world();
    let padded = |length: usize| {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#;
        old(format!("{call}{}", " ".repeat(length - call.len())))
    };
    assert_eq!(world.ask(padded(4 << 20)).await.status, StatusCode::OK);
    assert_eq!(world.ask(padded((4 << 20) + 1)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_the_endpoint_refuses_is_said_in_the_same_words() {
    let mut world =
        World::new(|_, _| Err(CallError::Denied(Denial::plain(Reason::Denied, "at the endpoint"))));
    world.responder = responder(mcp::Config::default(), world.tools.clone());
    let answer = world.ask(call("search", json!({}))).await;
    assert_eq!(answer.json()["error"]["code"], -32602);
    // What no policy decided is said as it is.
    for (reason, status) in
        [(Reason::Revoked, StatusCode::FORBIDDEN), (Reason::NoCertificate, StatusCode::SERVICE_UNAVAILABLE)]
    {
        let world = World::new(move |_, _| Err(CallError::Denied(Denial::plain(reason, "at the endpoint"))));
        let answer = world.ask(call("search", json!({}))).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(-32603)));
        assert_eq!(answer.headers["x-strait-denied"], format!("id=r1; reason={reason}"));
    }
    let nobody = || Err(CallError::Unavailable(Denial::plain(Reason::NoEndpoint, "nobody")));
    let world = World::new(move |_, _| nobody());
    let answer = world.ask(call("search", json!({}))).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(-32603))
    );
    assert_eq!(answer.headers["x-strait-denied"], "id=r1; reason=NoEndpoint");
}

#[tokio::test]
async fn a_list_that_is_no_json_is_not_passed_on() {
    for kind in ["text/plain", "text/html; charset=utf-8"] {
        let world = World::new(move |_, _| Ok(response(kind, r#"{"result":{"tools":[{"name":"write"}]}}"#)));
        let answer = world.ask(new("tools/list", json!({}))).await;
        assert_eq!((answer.status, &answer.json()["id"]), (StatusCode::BAD_GATEWAY, &json!(1)));
    }
}
