//! The story: ten steps in this order, one file each.

mod calling;
mod editing;
mod failing_over;
mod identities;
mod intruding;
mod listing;
mod outage;
mod refusing;
mod routing;
mod wiretap;

use serde_json::{Value, json};

use super::{
    agent::Agent,
    narrate::{Listener, Told},
    stage::Stage,
};
use crate::apps::AgentCommand;

/// The MCP server, by the name under which the other cluster exports it.
const TOOLS: &str = "http://tools.tools.svc.clusterset.local/mcp";
/// A service of two versions.
const WEB: &str = "http://web.agents.svc.cluster.local/";
/// A service with replicas in both clusters.
const ECHO: &str = "http://echo.tools.svc.cluster.local/";
/// Who the planner is.
const PLANNER: &str = "spiffe://east.demo/ns/agents/sa/planner";

/// How a step went.
struct Scene {
    ok: bool,
    what: String,
    why: String,
}

impl Scene {
    fn new(ok: bool, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { ok, what: what.into(), why: why.into() }
    }
}

/// Tells it, and says how many steps did not hold.
pub(super) async fn tell(stage: &mut Stage, listener: Listener) -> anyhow::Result<u32> {
    let canary = format!("canary-{:032x}", rand::random::<u128>());
    let mut failed = 0;
    for step in 1..=10 {
        listener.begin(step, title(step));
        let scene = match step {
            1 => identities::run(stage).await,
            2 => listing::run(stage).await,
            3 => calling::run(stage, &canary).await,
            4 => refusing::run(stage).await,
            5 => intruding::run(stage).await,
            6 => routing::run(stage).await,
            7 => failing_over::run(stage).await,
            8 => editing::run(stage).await,
            9 => outage::run(stage).await,
            _ => wiretap::run(stage, &canary),
        };
        let scene =
            scene.unwrap_or_else(|error| Scene::new(false, "it could not be tried", format!("{error:#}")));
        failed += u32::from(!scene.ok);
        listener.tell(&Told { step, ok: scene.ok, what: scene.what, why: scene.why });
    }
    Ok(failed)
}

fn title(step: u32) -> &'static str {
    match step {
        1 => "Everybody has an identity of its own cluster, and the clusters know each other's roots",
        2 => "planner, in east, lists the tools of an MCP server in west",
        3 => "planner calls a tool that it was granted",
        4 => "planner calls a tool that it was not granted, and a granted one with a wrong argument",
        5 => "intern, who was granted nothing, tries every way in",
        6 => "A route splits calls between two versions, and sends a tester to the new one",
        7 => "A replica dies, and the other cluster takes over",
        8 => "A policy is edited while it is in use",
        9 => "A control plane dies, and a node proxy restarts without it",
        _ => "What a wiretap between the nodes has heard since the start",
    }
}

/// One MCP request of an agent to the tools.
async fn mcp(agent: &Agent, method: &str, params: Value) -> anyhow::Result<Value> {
    agent.tell(&AgentCommand::Mcp { url: TOOLS.to_owned(), method: method.to_owned(), params }).await
}

/// One call of a tool.
async fn call(agent: &Agent, tool: &str, arguments: Value) -> anyhow::Result<Value> {
    mcp(agent, "tools/call", json!({ "name": tool, "arguments": arguments })).await
}

/// HTTP requests of an agent, one after the other.
async fn get(agent: &Agent, url: &str, headers: &[(&str, &str)], count: u32) -> anyhow::Result<Value> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    agent.tell(&AgentCommand::Get { url: url.to_owned(), headers, count }).await
}

/// How a followed stream or held connection fares.
async fn fares(agent: &Agent, name: &str) -> anyhow::Result<Value> {
    agent.tell(&AgentCommand::Fares { name: name.to_owned() }).await
}

/// Tries again until something holds or the time is over; how long it took, if it held.
async fn until<F>(
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
fn said(answer: &Value) -> &str {
    answer["message"]["result"]["content"][0]["text"].as_str().unwrap_or("nothing")
}
