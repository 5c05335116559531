//! Cards as a caller gets them.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use support::{World, ok, rest, rpc};

fn card() -> Value {
    json!({
        "name": "researcher", "url": "http://127.0.0.1:9001/a2a", "preferredTransport": "JSONRPC",
        "additionalInterfaces": [{"url": "https://evil.example/", "transport": "JSONRPC"}],
        "supportedInterfaces": [
            {"url": "http://127.0.0.1:9001/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
            {"url": "http://127.0.0.1:9001", "protocolBinding": "HTTP+JSON", "protocolVersion": "1.0"},
            {"url": "https://evil.example/", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
        ],
        "skills": [{"id": "search"}, {"id": "delete"}],
        "signatures": [{"protected": "p", "signature": "s"}],
    })
}

fn agent() -> World {
    World::new(|parts, _| {
        let rpc = parts.method == http::Method::POST;
        Ok(ok(&if rpc { json!({"jsonrpc": "2.0", "id": 1, "result": card()}) } else { card() }))
    })
}

#[tokio::test]
async fn attack_card_spoofing() {
    let world = agent();
    world.grants.set(&["SendMessage", "search", "GetExtendedAgentCard", "v1"]);
    for request in [
        rest("GET", "/.well-known/agent-card.json", Value::Null),
        rest("GET", "/.well-known/agent.json", Value::Null),
        rest("GET", "/extendedAgentCard", Value::Null),
        rest("GET", "/v1/card", Value::Null),
        rpc("GetExtendedAgentCard", json!({})),
        rpc("agent/getAuthenticatedExtendedCard", json!({})),
    ] {
        let answer = world.ask(request).await;
        let json = answer.json();
        let card = json.get("result").unwrap_or(&json);
        assert_eq!(card["url"], "http://researcher.shop.mesh/a2a");
        assert_eq!(card["supportedInterfaces"][1]["url"], "http://researcher.shop.mesh/");
        assert_eq!(card["skills"], json!([{"id": "search"}]));
        assert!(!answer.body.contains("evil") && !answer.body.contains("127.0.0.1"), "{card}");
        assert_eq!(card.get("signatures"), None);
        assert_eq!(answer.headers["cache-control"], "private, no-cache");
        assert_eq!(answer.headers["vary"], "authorization, host");
    }
}

#[tokio::test]
async fn a_card_is_unchanged_only_as_this_caller_gets_it() {
    let world = agent();
    let get = |tag: Option<&str>| {
        let mut request = rest("GET", "/.well-known/agent-card.json", Value::Null);
        if let Some(tag) = tag {
            request.headers_mut().insert("if-none-match", tag.parse().unwrap());
        }
        request
    };
    let first = world.ask(get(None)).await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let again = world.ask(get(Some(&tag))).await;
    assert_eq!((again.status, &*again.body), (StatusCode::NOT_MODIFIED, ""));
    assert!(!world.last().parts.headers.contains_key("if-none-match"));
    world.grants.set(&["SendMessage", "search"]);
    let narrowed = world.ask(get(Some(&tag))).await;
    assert_eq!(narrowed.status, StatusCode::OK);
    assert_ne!(narrowed.headers["etag"].to_str().unwrap(), tag);
    let head = world.ask(rest("HEAD", "/.well-known/agent-card.json", Value::Null)).await;
    assert_eq!((head.status, &*head.body), (StatusCode::OK, ""));
    assert_eq!(head.headers["content-length"], narrowed.headers["content-length"]);
}

#[tokio::test]
async fn cards_are_bounded_and_must_be_cards() {
    let limit = a2a::Config::default().card_bytes_max;
    let card = |length: usize| card().to_string() + &" ".repeat(length);
    let room = limit - card(0).len();
    let get = || rest("GET", "/.well-known/agent-card.json", Value::Null);
    assert_eq!(World::answering("application/json", card(room)).ask(get()).await.status, StatusCode::OK);
    for (kind, body) in [
        ("application/json", card(room + 1)),
        ("text/html", card(0)),
        ("text/event-stream", card(0)),
        ("application/json", "{}".to_owned()),
        ("application/json", r#"{"url":"http://localhost/","URL":"https://evil.example/"}"#.to_owned()),
        ("application/json", String::new()),
    ] {
        assert_eq!(World::answering(kind, body).ask(get()).await.status, StatusCode::BAD_GATEWAY, "{kind}");
    }
}
