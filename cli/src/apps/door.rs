//! The door of an agent: who comes in may ask it something, and it asks a tool of the mesh, as itself.

use std::{io, sync::Arc};

use anyhow::Context as _;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{
    agent::mcp,
    http::{ListenAt, answer, caller, serve},
    proxied::{Proxy, whole},
};

/// Where the door is, and what is behind it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Door {
    /// Where people reach the agent: `unix:PATH` or `IP:PORT` (default: nowhere).
    #[arg(long, requires_all = ["name", "tools"])]
    listen: Option<ListenAt>,
    /// What the agent calls itself to them.
    #[arg(long)]
    name: Option<String>,
    /// The URL of the MCP server whose tool `search` it uses for who asks `?q=WORD`.
    #[arg(long)]
    tools: Option<String>,
}

/// Serves until it is stopped; without a door nobody comes, and that has no end.
pub(super) async fn run(door: Door, proxy: Proxy) -> io::Result<()> {
    let Door { listen: Some(at), name: Some(name), tools: Some(tools) } = door else {
        return std::future::pending().await;
    };
    let behind = Arc::new((name, tools, proxy));
    serve(&at.0, move |request| {
        let behind = behind.clone();
        async move {
            let (name, tools, proxy) = &*behind;
            let mut said = json!({ "app": name, "caller": caller(request.headers()) });
            let query = request.uri().query().unwrap_or_default().as_bytes();
            let word = form_urlencoded::parse(query).find(|(key, _)| key == "q");
            if let Some((_, word)) = word {
                match search(proxy, tools, &word).await {
                    Ok(found) => said["found"] = found,
                    Err(error) => said["error"] = format!("{error:#}").into(),
                }
            }
            // Whether whoever came in showed us who they are: the way in must have kept that for itself.
            said["saw_token"] = request.headers().contains_key(http::header::AUTHORIZATION).into();
            answer(StatusCode::OK, "application/json", format!("{said}\n"))
        }
    })
    .await
}

async fn search(proxy: &Proxy, tools: &str, word: &str) -> anyhow::Result<Value> {
    let arguments = json!({ "repo": "docs", "query": word });
    let params = json!({ "name": "search", "arguments": arguments });
    let request: Request<Full<bytes::Bytes>> = mcp(tools, "tools/call", params)?;
    let body = whole(proxy.send(request).await?.into_body()).await?;
    let message: Value = serde_json::from_slice(&body).context("the answer is no JSON")?;
    Ok(message["result"]["content"][0]["text"].clone())
}
