//! An MCP server with three tools, on streamable HTTP in revisions 2026-07-28 and 2025-11-25, without sessions.
//!
//! With `--only`, it has that tool alone, and with `--described-in` that tool's description is what stands in a file.
//!
//! `read_file` with `follow: true` answers with a stream of progress notifications until its caller leaves.

use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use transport::Address;

use super::http::{Answer, answer, caller, serve};

/// How often a followed file tells that it is still there.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);
/// After so many notifications a followed file ends by itself.
const FOLLOW_EVENTS_MAX: u64 = 36_000;

/// Serves until it is stopped.
pub(crate) async fn run(at: &Address, offer: Offer) -> std::io::Result<()> {
    let offer = Arc::new(offer);
    serve(at, move |request| {
        let offer = offer.clone();
        async move { respond(&request, &offer) }
    })
    .await
}

/// What the server offers.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Offer {
    /// Only this tool.
    #[arg(long)]
    only: Option<String>,
    /// The file with the description of that tool, read at each list.
    #[arg(long, requires = "only")]
    described_in: Option<PathBuf>,
}

impl Offer {
    fn has(&self, tool: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == tool)
    }

    fn listed(&self) -> Value {
        let tools = listed().as_array().cloned().unwrap_or_default();
        let mut tools: Vec<Value> = tools
            .into_iter()
            .filter(|tool| tool["name"].as_str().is_some_and(|name| self.has(name)))
            .collect();
        let text = self.described_in.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        if let (Some(text), Some(tool)) = (text, tools.first_mut()) {
            tool["description"] = text.trim().into();
        }
        tools.into()
    }
}

fn respond(request: &Request<Bytes>, offer: &Offer) -> Answer {
    if request.method() != http::Method::POST {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only POST\n");
    }
    let Ok(message) = serde_json::from_slice::<Value>(request.body()) else {
        return reply(StatusCode::BAD_REQUEST, &error(&Value::Null, -32700, "this is not JSON"));
    };
    let Some(id) = message.get("id").cloned() else {
        return answer(StatusCode::ACCEPTED, "text/plain", "");
    };
    let parameters = &message["params"];
    let stateless = parameters["_meta"]["io.modelcontextprotocol/protocolVersion"].is_string();
    let who = caller(request.headers());
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "tools", "version": env!("CARGO_PKG_VERSION") },
        }),
        Some("server/discover") => json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "tools", "version": env!("CARGO_PKG_VERSION") },
            "ttlMs": 0, "cacheScope": "private",
        }),
        Some("ping") => json!({}),
        Some("tools/list") => json!({ "tools": offer.listed(), "ttlMs": 0, "cacheScope": "private" }),
        Some("tools/call") if !parameters["name"].as_str().is_some_and(|name| offer.has(name)) => {
            return reply(StatusCode::OK, &error(&id, -32602, "there is no tool of that name"));
        }
        Some("tools/call") if parameters["arguments"]["follow"] == json!(true) => {
            return follow(id, parameters, &who);
        }
        Some("tools/call") => match call(parameters, &who) {
            Ok(text) => json!({ "content": [{ "type": "text", "text": text }] }),
            Err(why) => return reply(StatusCode::OK, &error(&id, -32602, &why)),
        },
        other => {
            let why = format!("there is no method {}", other.unwrap_or("of that kind"));
            return reply(StatusCode::OK, &error(&id, -32601, &why));
        }
    };
    reply(StatusCode::OK, &success(&id, result, stateless))
}

fn listed() -> Value {
    let text = json!({ "type": "string" });
    let tool = |name: &str, description: &str, properties: Value, required: Value| {
        let schema = json!({ "type": "object", "properties": properties, "required": required });
        json!({ "name": name, "description": description, "inputSchema": schema })
    };
    json!([
        tool(
            "search",
            "Finds files that mention a word.",
            json!({ "repo": text, "query": text }),
            json!(["repo", "query"])
        ),
        tool(
            "read_file",
            "Reads a file; with follow, tells of it until you leave.",
            json!({ "repo": text, "path": text, "follow": { "type": "boolean" } }),
            json!(["repo", "path"]),
        ),
        tool(
            "write_file",
            "Replaces a file.",
            json!({ "repo": text, "path": text, "content": text }),
            json!(["repo", "path", "content"]),
        ),
    ])
}

/// Every tool says what it did and for whom, so that a reader sees that the server knows its caller.
fn call(parameters: &Value, who: &str) -> Result<String, String> {
    let argument = |name: &str| {
        parameters["arguments"][name].as_str().ok_or_else(|| format!("argument {name} is missing or no text"))
    };
    match parameters["name"].as_str() {
        Some("search") => {
            Ok(format!("found {:?} in {}/README.md, asked by {who}", argument("query")?, argument("repo")?))
        }
        Some("read_file") => Ok(format!("{}/{} as read by {who}", argument("repo")?, argument("path")?)),
        Some("write_file") => {
            let bytes = argument("content")?.len();
            Ok(format!("{bytes} bytes written to {}/{} by {who}", argument("repo")?, argument("path")?))
        }
        other => Err(format!("there is no tool {}", other.unwrap_or("of that kind"))),
    }
}

/// A stream of progress notifications: what a long-running tool looks like to the mesh.
fn follow(id: Value, parameters: &Value, who: &str) -> Answer {
    let progress = parameters["_meta"].get("progressToken").cloned().unwrap_or(id);
    let text = format!("{} followed by {who}", parameters["arguments"]["path"].as_str().unwrap_or("a file"));
    let events = stream::unfold(0_u64, move |count| {
        let (progress, text) = (progress.clone(), text.clone());
        async move {
            if count == FOLLOW_EVENTS_MAX {
                return None;
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
            let message = json!({
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": { "progressToken": progress, "progress": count, "message": text },
            });
            let event = Bytes::from(format!("event: message\ndata: {message}\n\n"));
            Some((Ok::<_, Infallible>(Frame::data(event)), count + 1))
        }
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn success(id: &Value, mut result: Value, stateless: bool) -> Value {
    if stateless {
        result["resultType"] = json!("complete");
    }
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

fn error(id: &Value, code: i32, why: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": why } })
}

fn reply(status: StatusCode, message: &Value) -> Answer {
    answer(status, "application/json", message.to_string())
}
