//! What every step of the story uses: names, a way to ask an agent, and how a step went.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    apps::AgentCommand,
    demo::{agent::Agent, cluster::Cluster},
};

/// How long the story waits for what must become true, on a machine however busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How often it looks.
const EVERY: Duration = Duration::from_millis(5);
/// Where a request takes long, because the machine is busy with something else, so may all that is measured: as long as
/// this many requests.
const REQUESTS_ALLOWED: u32 = 10;

/// The MCP server, by the name under which the other cluster exports it.
pub(in crate::demo) const TOOLS: &str = "http://tools.tools.svc.clusterset.local/mcp";
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

/// Tries again until something holds or [`PATIENCE`] is at its end; how long it took, if it held.
pub(super) async fn until<F>(mut holds: impl FnMut() -> F) -> anyhow::Result<Option<Duration>>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let start = Instant::now();
    loop {
        if holds().await? {
            return Ok(Some(start.elapsed()));
        }
        if start.elapsed() > PATIENCE {
            return Ok(None);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// How long it took, for a reader.
pub(super) fn after(took: Option<Duration>) -> String {
    took.map_or("never".to_owned(), |took| format!("{} ms", took.as_millis()))
}

/// Whether something took no longer than it may, where one request takes so long now.
pub(super) fn within(took: Option<Duration>, most: Duration, request: Duration) -> bool {
    took.is_some_and(|took| took <= most.max(request * REQUESTS_ALLOWED))
}

/// How a control plane explains the id of a refusal. The record of it is on its way from the proxy while the answer is
/// on its way to the caller.
pub(super) async fn explained(cluster: &Cluster, id: &str) -> anyhow::Result<Value> {
    let page = format!("/v1/explain?id={id}");
    until(|| async { Ok(cluster.page(&page).await.is_ok_and(|told| told["policy"].is_string())) }).await?;
    cluster.page(&page).await
}

/// How many requests show a split of 90 to 10.
pub(super) const SPLIT_OF: u64 = 200;

/// Whether that many of [`SPLIT_OF`] requests are one in ten: by chance fewer than 3 or more than 50 are, less than once
/// in five million times.
pub(super) fn one_in_ten(requests: u64) -> bool {
    (3..=50).contains(&requests)
}

/// The text of a tool's answer.
pub(super) fn said(answer: &Value) -> &str {
    answer["message"]["result"]["content"][0]["text"].as_str().unwrap_or("nothing")
}
