//! Sessions: sealed, pinned to where they live, good for one caller.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use exchange::{Body, CallError, Request};
use http::StatusCode;
use serde_json::json;
use support::{World, call, intern, new, response};

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn world() -> World {
    World::new(|parts, _| {
        let mut response = response("application/json", RESULT);
        // A server that says its session in every answer, as some do.
        let session = parts.headers.get("mcp-session-id").cloned().unwrap_or("upstream-1".parse().unwrap());
        response.headers_mut().insert("mcp-session-id", session);
        Ok(response)
    })
}

fn with(token: &str, mut request: Request) -> Request {
    request.headers_mut().insert("mcp-session-id", token.parse().unwrap());
    request
}

async fn token(world: &World) -> String {
    let initialize = support::old(r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#);
    let answer = world.ask(initialize).await;
    answer.headers["mcp-session-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_caller_holds_a_token_and_the_server_its_own_id() {
    let world = world();
    let token = token(&world).await;
    assert!(!token.contains("upstream-1"));
    let answer = world.ask(with(&token, call("search", json!({})))).await;
    assert_eq!(
        (answer.status, answer.headers["mcp-session-id"].to_str().unwrap()),
        (StatusCode::OK, token.as_str())
    );
    let reached = world.server.reached.lock().unwrap();
    assert_eq!(reached[1].0.headers["mcp-session-id"], "upstream-1");
    assert_eq!(reached[1].2, Some("west/MeshWorkload/shop/tools-1".into()));
    assert_eq!(reached[0].2, None);
}

#[tokio::test]
async fn every_replica_serves_it() {
    let token = token(&world()).await;
    let replica = world();
    let get = http::Request::get("/").header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let delete = http::Request::delete("/").body(Body::empty()).unwrap();
    for request in [call("search", json!({})), get, delete] {
        assert_eq!(replica.ask(with(&token, request)).await.status, StatusCode::OK);
    }
    let reached = replica.server.reached.lock().unwrap();
    assert!(reached.iter().all(|(parts, ..)| parts.headers["mcp-session-id"] == "upstream-1"));
}

#[tokio::test]
async fn attack_session_hijack_to_others_it_does_not_exist() {
    let mut world = world();
    let token = token(&world).await;
    world.caller = intern();
    let answer = world.ask(with(&token, call("search", json!({})))).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["message"]),
        (StatusCode::NOT_FOUND, &json!("Session not found"))
    );
    world.caller = support::planner();
    let exchange::Backend::Service { port, .. } = &mut world.backend else { panic!() };
    *port = 81;
    assert_eq!(world.ask(with(&token, call("search", json!({})))).await.status, StatusCode::NOT_FOUND);
    for other in ["upstream-1", "", "AQ", &token[1..]] {
        let answer = world.ask(with(other, call("search", json!({})))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{other}");
    }
    assert_eq!(world.reached(), 1);
}

#[tokio::test]
async fn it_says_where_it_began() {
    let world = world();
    let token = token(&world).await;
    let request = with(&token, call("search", json!({})));
    assert_eq!(world.responder.begun_at(request.headers()), Some(world.backend.target()));
    assert_eq!(world.responder.begun_at(with("upstream-1", call("search", json!({}))).headers()), None);
    assert_eq!(world.responder.begun_at(call("search", json!({})).headers()), None);
}

#[tokio::test]
async fn a_session_whose_endpoint_is_gone_is_begun_anew() {
    let token = token(&world()).await;
    let world = World::new(|_, _| Err(CallError::PinGone("west/MeshWorkload/shop/tools-1".into())));
    assert_eq!(world.ask(with(&token, call("search", json!({})))).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn stateless_revisions_have_none() {
    let world = world();
    let answer = world.ask(with("anything", new("tools/call", json!({"name": "search"})))).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.headers.contains_key("mcp-session-id"));
    assert!(!world.server.reached.lock().unwrap()[0].0.headers.contains_key("mcp-session-id"));
}
