//! A tiny MCP server with two tools, and calls of it.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{
    client::Client,
    server::{Answer, Server, caller, whole},
};

/// The revision that client and server speak, without sessions.
const REVISION: &str = "2026-07-28";

/// Serves tools of these names, which all take a text `repo`, and tells who called.
///
/// # Errors
/// When the socket cannot be made.
pub fn server(at: &Path, tools: &'static [&'static str]) -> anyhow::Result<Server> {
    Server::http(at, move |request| respond(request, tools))
}

fn respond(request: &Request<Bytes>, tools: &[&str]) -> Answer {
    let Ok(message) = serde_json::from_slice::<Value>(request.body()) else {
        return whole(StatusCode::BAD_REQUEST, "text/plain", "this is not JSON");
    };
    let id = &message["id"];
    let parameters = &message["params"];
    let schema = json!({
        "type": "object", "properties": {"repo": {"type": "string"}}, "required": ["repo"],
    });
    let result = match message["method"].as_str() {
        Some("server/discover") => json!({
            "supportedVersions": [REVISION], "capabilities": {"tools": {}},
            "serverInfo": {"name": "tiny", "version": "1"}, "ttlMs": 0, "cacheScope": "private",
            "resultType": "complete",
        }),
        Some("tools/list") => {
            let listed: Vec<Value> = tools
                .iter()
                .map(|name| json!({"name": name, "description": name, "inputSchema": schema}))
                .collect();
            json!({"tools": listed, "ttlMs": 0, "cacheScope": "private", "resultType": "complete"})
        }
        Some("tools/call") => {
            let name = parameters["name"].as_str().unwrap_or_default();
            let text = format!("{name} for {}", caller(request));
            json!({"content": [{"type": "text", "text": text}], "resultType": "complete"})
        }
        _ => {
            let error = json!({"code": -32601, "message": "there is no such method"});
            return reply(&json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
    };
    reply(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn reply(message: &Value) -> Answer {
    whole(StatusCode::OK, "application/json", message.to_string())
}

/// Calls a method and returns the whole JSON-RPC answer, and the status with which it came.
///
/// # Errors
/// When nothing of JSON-RPC came back.
pub async fn call(
    client: &Client,
    url: &str,
    method: &str,
    mut parameters: Value,
) -> anyhow::Result<(StatusCode, Value)> {
    parameters["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": REVISION,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut request = Request::post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", REVISION)
        .header("mcp-method", method);
    if let Some(name) = parameters["name"].as_str() {
        request = request.header("mcp-name", name);
    }
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
    let response = client.request(request.body(message.to_string().into())?).await?;
    let status = response.status();
    let body = String::from_utf8_lossy(response.body()).into_owned();
    let text = match body.lines().find_map(|line| line.strip_prefix("data:")) {
        Some(event) if !body.starts_with('{') => event.to_owned(),
        _ => body,
    };
    let answer = serde_json::from_str(&text).with_context(|| format!("{status}: {text:?}"))?;
    Ok((status, answer))
}

/// The names of the tools that are listed.
///
/// # Errors
/// When the list is refused.
pub async fn listed(client: &Client, url: &str) -> anyhow::Result<Vec<String>> {
    let (status, answer) = call(client, url, "tools/list", json!({})).await?;
    let tools = answer["result"]["tools"].as_array().with_context(|| format!("{status}: {answer}"))?;
    Ok(tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect())
}
