//! Lists hold what can be called, in JSON and in streams.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use bytes::Bytes;
use exchange::Body;
use http::StatusCode;
use http_body_util::{BodyExt, StreamBody};
use mesh::{Denial, Reason};
use serde_json::json;
use support::{World, call, new, old, response};

const TOOLS: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"},{"name":"write"}],"nextCursor":"2"}}"#;
const FEWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"search"}],"nextCursor":"2"}}"#;

#[tokio::test]
async fn a_json_list_is_filtered_and_pagination_passes() {
    let world = World::answering("application/json", TOOLS);
    world.grants.set(&["search"]);
    let answer = world.ask(new("tools/list", json!({"cursor": "1"}))).await;
    assert_eq!(answer.body, FEWER);
    assert_eq!(answer.headers["content-length"], FEWER.len().to_string());
    // Nothing was refused: what is only not listed is no refusal.
    assert!(world.refusals.0.lock().unwrap().is_empty());
    world.grants.set(&["search", "write"]);
    assert_eq!(world.ask(new("tools/list", json!({}))).await.body, TOOLS);
}

#[tokio::test]
async fn a_list_in_a_stream_is_filtered_and_the_rest_passes_byte_by_byte() {
    let around = |list: &str| {
        format!(
            ": hello\r\n\r\nid: 7\r\ndata: \r\n\r\nevent: message\ndata: {{\"method\":\"notifications/message\"}}\n\n{list}: bye\n\n"
        )
    };
    let stream = around(&format!("event: message\nid: 8\ndata: {TOOLS}\n\n"));
    let world = World::new(move |_, _| Ok(response("text/event-stream", stream.clone())));
    world.grants.set(&["search"]);
    let answer = world.ask(old(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)).await;
    assert_eq!(answer.body, around(&format!("event: message\nid: 8\ndata: {FEWER}\n\n")));
}

#[tokio::test]
async fn a_stream_cut_anywhere_reads_the_same() {
    // Letters of several bytes, so that cuts go through them.
    let stream = format!("data: {}\n\n", TOOLS.replace("write", "schreib\u{fc}\u{4e16}"));
    for cut in 1..stream.len() {
        let (one, two) = stream.as_bytes().split_at(cut);
        let (one, two) = (Bytes::copy_from_slice(one), Bytes::copy_from_slice(two));
        let world = World::new(move |_, _| {
            let chunks = [one.clone(), two.clone()]
                .map(|chunk| Ok::<_, std::io::Error>(http_body::Frame::data(chunk)));
            let body = Body::streamed(StreamBody::new(futures_util::stream::iter(chunks)));
            Ok(http::Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
        });
        world.grants.set(&["search"]);
        assert_eq!(world.ask(new("tools/list", json!({}))).await.body, format!("data: {FEWER}\n\n"), "{cut}");
    }
}

#[tokio::test]
async fn a_resumed_stream_is_filtered_though_its_request_is_not_known() {
    let stream = format!("data: {TOOLS}\n\n");
    let world = World::new(move |_, _| Ok(response("text/event-stream", stream.clone())));
    world.grants.set(&["search"]);
    let resume = http::Request::get("/mcp")
        .header("accept", "text/event-stream")
        .header("last-event-id", "8")
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.ask(resume).await.body, format!("data: {FEWER}\n\n"));
    assert_eq!(world.server.reached.lock().unwrap()[0].0.headers["last-event-id"], "8");
}

#[tokio::test]
async fn what_cannot_be_read_for_certain_ends_the_stream_with_an_error() {
    for bad in [
        r#"{"id":1,"result":{"tools":[],"tools":[{"name":"write"}]}}"#,
        "[{\"id\":1}]",
        "{",
        "{\"result\":{\"tools\":1}}",
    ] {
        let stream = format!("data: {bad}\n\ndata: {TOOLS}\n\n");
        let world = World::new(move |_, _| Ok(response("text/event-stream", stream.clone())));
        world.grants.set(&["search"]);
        let answer = world.ask(new("tools/list", json!({}))).await;
        let data = answer.body.strip_prefix("event: message\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        let error: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(1), &json!(-32603)), "{bad}");
    }
}

#[tokio::test]
async fn an_answer_without_a_list_passes_whatever_it_holds() {
    for body in [TOOLS, "{\"a\":1,\"a\":2}", "not json"] {
        let world = World::new(move |_, _| Ok(response("application/json", body)));
        world.grants.set(&["search"]);
        assert_eq!(world.ask(call("search", json!({}))).await.body, body);
        let stream = format!("data: {body}\n\n");
        let world = World::new(move |_, _| Ok(response("text/event-stream", stream.clone())));
        world.grants.set(&["search"]);
        assert_eq!(world.ask(call("search", json!({}))).await.body, format!("data: {body}\n\n"));
    }
}

#[tokio::test]
async fn a_change_of_a_hidden_resource_is_hidden() {
    let changed = |uri: &str| {
        format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{{\"uri\":\"{uri}\"}}}}\n\n"
        )
    };
    let stream = changed("docs://a") + &changed("docs://b") + &changed("docs://a");
    let world = World::new(move |_, _| Ok(response("text/event-stream", stream.clone())));
    world.grants.set(&["docs://a", "search"]);
    let expected = changed("docs://a") + &changed("docs://a");
    let get = http::Request::get("/").header("accept", "text/event-stream").body(Body::empty()).unwrap();
    assert_eq!(world.ask(get).await.body, expected);
    assert_eq!(world.ask(call("search", json!({}))).await.body, expected);
}

#[tokio::test]
async fn requests_of_the_server_pass_and_answers_go_back() {
    let stream =
        "data: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"elicitation/create\",\"params\":{}}\n\n";
    let world = World::answering("text/event-stream", stream);
    world.grants.set(&["search"]);
    assert_eq!(world.ask(call("search", json!({}))).await.body, stream);
    let back = r#"{"jsonrpc":"2.0","id":"s1","result":{"action":"accept","content":{}}}"#;
    let world = World::new(|_, _| Ok(http::Response::builder().status(202).body(Body::empty()).unwrap()));
    world.grants.set(&["search"]);
    assert_eq!(world.ask(old(back)).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.server.reached.lock().unwrap()[0].1, back.as_bytes());
}

#[tokio::test]
async fn a_stream_whose_grant_is_withdrawn_ends_with_an_error() {
    for (request, id) in [
        (call("search", json!({})), Some(json!(1))),
        (http::Request::get("/").header("accept", "text/event-stream").body(Body::empty()).unwrap(), None),
    ] {
        let world = World::new(|_, _| {
            let first =
                Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from("data: {\"method\":\"x\"}\n\n")));
            let endless = futures_util::StreamExt::chain(
                futures_util::stream::iter([first]),
                futures_util::stream::pending(),
            );
            let body = Body::streamed(StreamBody::new(endless));
            Ok(http::Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
        });
        world.grants.set(&["search"]);
        let mut body = world.respond(request).await.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: {\"method\":\"x\"}\n\n");
        world.closing.close(Denial::plain(Reason::NoLongerAllowed, "the grant was withdrawn"));
        let last = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let last = String::from_utf8(last.to_vec()).unwrap();
        let data = last.strip_prefix("event: message\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        let error: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(error.get("id"), id.as_ref());
        assert_eq!(error["error"]["data"]["id"], "r1");
        assert!(body.frame().await.is_none());
    }
}
