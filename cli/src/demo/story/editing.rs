//! Step 8: an edit is in force at once, and concerns only whom it concerns.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use super::scene::{Scene, TOOLS, WEB, after, call, fares, until, within};
use crate::apps::AgentCommand;
use crate::demo::{agent::Agent, stage::Stage};

/// How soon an edit must be in force.
const IN_FORCE_MAX: Duration = Duration::from_millis(100);
/// How many calls show how busy the machine is.
const CALLS: u32 = 10;
/// The grant as the file says it, and as the edit leaves it.
const GRANTED: &str = "[search, read_file]";
const WITHDRAWN: &str = "[search]";

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let agent = &stage.planner;
    agent.tell(&AgentCommand::Hold { name: "web".to_owned(), url: WEB.to_owned() }).await?;
    agent
        .tell(&AgentCommand::Follow {
            name: "file".to_owned(),
            url: TOOLS.to_owned(),
            params: json!({ "name": "read_file", "arguments": { "repo": "docs", "path": "a", "follow": true } }),
        })
        .await?;
    until(|| async {
        Ok(fares(agent, "file").await?["count"].as_u64() > Some(2)
            && fares(agent, "web").await?["count"].as_u64() > Some(2))
    })
    .await?;
    let slowest = slowest_call(agent).await?;
    let file = stage.west.files().join("policies.yaml");
    let text = fs::read_to_string(&file)?;
    anyhow::ensure!(text.contains(GRANTED), "{} does not grant {GRANTED}", file.display());
    fs::write(&file, text.replace(GRANTED, WITHDRAWN))?;
    let in_force = until(|| async {
        let answer = call(agent, "read_file", json!({ "repo": "docs", "path": "a" })).await?;
        Ok(answer["message"]["error"].is_object())
    })
    .await?;
    until(|| async { Ok(fares(agent, "file").await?["ended"].is_string()) }).await?;
    let stream = fares(agent, "file").await?;
    let held_before = fares(agent, "web").await?["count"].as_u64();
    until(|| async { Ok(fares(agent, "web").await?["count"].as_u64() > held_before.map(|count| count + 5)) })
        .await?;
    let held = fares(agent, "web").await?;
    fs::write(&file, text)?;
    let restored = until(|| async {
        let answer = call(agent, "read_file", json!({ "repo": "docs", "path": "a" })).await?;
        Ok(answer["message"]["result"].is_object())
    })
    .await?;
    let proper = stream["ended"] == "end of stream" && stream["last"]["error"].is_object();
    let untouched = held["ended"].is_null();
    let ok = within(in_force, IN_FORCE_MAX, slowest) && proper && untouched && restored.is_some();
    Ok(Scene::new(
        ok,
        format!(
            "read_file withdrawn: in force after {} (of {CALLS} calls just before, the slowest took {} ms)\nthe stream of read_file ended ({}) with: {}\n\
             another connection went on: {} answers, {}",
            after(in_force),
            slowest.as_millis(),
            stream["ended"].as_str().unwrap_or("not"),
            stream["last"]["error"]["message"].as_str().unwrap_or("no error event"),
            held["count"],
            if untouched { "still open" } else { "CUT" },
        ),
        "one policy and the sets of its targets were pushed; only what used them was judged again, and the stream was \
         told why it ends",
    ))
}

/// How long the slowest of a few calls takes: how busy the machine is with something else, wherever it is so.
async fn slowest_call(agent: &Agent) -> anyhow::Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..CALLS {
        let start = Instant::now();
        call(agent, "read_file", json!({ "repo": "docs", "path": "a" })).await?;
        slowest = slowest.max(start.elapsed());
    }
    Ok(slowest)
}
