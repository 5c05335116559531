//! An A2A agent, version 1.0 by JSON-RPC: a card, answers whole and streamed. It says which version of itself it is.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use transport::Address;

use super::http::{Answer, answer, serve};

/// Where it believes that it is; it knows nothing of the mesh.
const OWN: &str = "http://127.0.0.1:9000/rpc";

/// Serves until it is stopped.
pub(crate) async fn run(at: &Address, name: String) -> std::io::Result<()> {
    let name: Arc<str> = name.into();
    serve(at, move |request| {
        let answer = respond(&request, &name);
        async move { answer }
    })
    .await
}

fn respond(request: &Request<Bytes>, name: &str) -> Answer {
    if request.method() == http::Method::GET && request.uri().path() == "/.well-known/agent-card.json" {
        return answer(StatusCode::OK, "application/json", card(name).to_string());
    }
    let Ok(call) = serde_json::from_slice::<Value>(request.body()) else {
        let error = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "this is not JSON" } });
        return answer(StatusCode::OK, "application/json", error.to_string());
    };
    let message = &call["params"]["message"];
    let context = message["contextId"].as_str().map_or_else(|| fresh("context"), str::to_owned);
    let text = message["parts"][0]["text"].as_str().unwrap_or("nothing");
    let said = format!("{name} looked up {text}");
    let reply = |result: Value| json!({ "jsonrpc": "2.0", "id": call["id"], "result": result });
    match call["method"].as_str() {
        Some("SendMessage") => {
            let parts = json!([{ "text": said }]);
            let message = json!({ "messageId": fresh("message"), "contextId": context, "role": "ROLE_AGENT", "parts": parts });
            answer(StatusCode::OK, "application/json", reply(json!({ "message": message })).to_string())
        }
        Some("SendStreamingMessage") => {
            let task = fresh("task");
            let status = |state: &str| json!({ "state": state });
            let artifact = json!({ "artifactId": "answer", "parts": [{ "text": said }] });
            let events = [
                json!({ "task": { "id": task, "contextId": context, "status": status("TASK_STATE_WORKING") } }),
                json!({ "artifactUpdate": { "taskId": task, "contextId": context, "artifact": artifact } }),
                json!({ "statusUpdate": {
                    "taskId": task, "contextId": context, "status": status("TASK_STATE_COMPLETED"),
                } }),
            ];
            let frame = |event| Frame::data(Bytes::from(format!("data: {}\n\n", reply(event))));
            let events = events.map(frame).map(Ok::<_, Infallible>);
            let mut response = Response::new(BodyExt::boxed(StreamBody::new(stream::iter(events))));
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            response
        }
        other => {
            let why = format!("there is no method {}", other.unwrap_or("of that kind"));
            let error =
                json!({ "jsonrpc": "2.0", "id": call["id"], "error": { "code": -32601, "message": why } });
            answer(StatusCode::OK, "application/json", error.to_string())
        }
    }
}

fn card(name: &str) -> Value {
    let skill = |id: &str| json!({ "id": id, "name": id, "description": id, "tags": ["demo"] });
    let interface = |url: &str| json!({ "url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0" });
    json!({
        "name": name, "description": "Looks things up.", "version": "1",
        "supportedInterfaces": [interface(OWN), interface("https://elsewhere.example/rpc")],
        "capabilities": { "streaming": true },
        "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
        "skills": [skill("search"), skill("delete")],
    })
}

fn fresh(what: &str) -> String {
    format!("{what}-{:016x}", rand::random::<u64>())
}
