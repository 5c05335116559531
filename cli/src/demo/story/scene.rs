//! What every step of the story uses: names, a way to ask an agent, and how a step went.

use serde_json::{Value, json};

use crate::{apps::AgentCommand, demo::agent::Agent};

/// The MCP server, by the name under which the other cluster exports it.
pub(super) const TOOLS: &str = "http://tools.tools.svc.clusterset.local/mcp";
/// A service of two versions.
pub(super) const WEB: &str = "http://web.agents.svc.cluster.local/";
/// A service with replicas in both clusters.
pub(super) const ECHO: &str = "http://echo.tools.svc.cluster.local/";
/// Who the planner is.
pub(super) const PLANNER: &str = "spiffe://east.demo/ns/agents/sa/planner";

/// How a step went.
pub(super) struct Scene {
    pub(super) ok: bool,
    pub(super) what: String,
    pub(super) why: String,
}

impl Scene {
    pub(super) fn new(ok: bool, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { ok, what: what.into(), why: why.into() }
    }
}

/// One MCP request of an agent to the tools.
pub(super) async fn mcp(agent: &Agent, method: &str, params: Value) -> anyhow::Result<Value> {
    mcp_at(TOOLS, agent, method, params).await
}

/// One MCP request of an agent to this URL.
pub(super) async fn mcp_at(url: &str, agent: &Agent, method: &str, params: Value) -> anyhow::Result<Value> {
    agent.tell(&AgentCommand::Mcp { url: url.to_owned(), method: method.to_owned(), params }).await
}

/// One call of a tool.
pub(super) async fn call(agent: &Agent, tool: &str, arguments: Value) -> anyhow::Result<Value> {
    mcp(agent, "tools/call", json!({ "name": tool, "arguments": arguments })).await
}

/// HTTP requests of an agent, one after the other.
pub(super) async fn get(
    agent: &Agent,
    url: &str,
    headers: &[(&str, &str)],
    count: u32,
) -> anyhow::Result<Value> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    agent.tell(&AgentCommand::Get { url: url.to_owned(), headers, count }).await
}

/// One HTTP request of an agent with a JSON body: its status, headers and body.
pub(super) async fn post(agent: &Agent, url: &str, body: Value) -> anyhow::Result<Value> {
    let headers = [("content-type", "application/json")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    agent.tell(&AgentCommand::Send { method: "POST".to_owned(), url: url.to_owned(), headers, body }).await
}

/// How a followed stream or held connection fares.
pub(super) async fn fares(agent: &Agent, name: &str) -> anyhow::Result<Value> {
    agent.tell(&AgentCommand::Fares { name: name.to_owned() }).await
}

/// Tries again until something holds or the time is over; how long it took, if it held.
pub(super) async fn until<F>(
    limit: std::time::Duration,
    mut holds: impl FnMut() -> F,
) -> anyhow::Result<Option<std::time::Duration>>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let start = std::time::Instant::now();
    loop {
        if holds().await? {
            return Ok(Some(start.elapsed()));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// The text of a tool's answer.
pub(super) fn said(answer: &Value) -> &str {
    answer["message"]["result"]["content"][0]["text"].as_str().unwrap_or("nothing")
}
