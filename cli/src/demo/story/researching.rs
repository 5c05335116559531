//! Step 11: one agent talks to another, and its conversation stays where it began.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::scene::{Scene, until};
use crate::{apps::AgentCommand, demo::stage::Stage};

/// The other agent, as its callers know it.
const HOST: &str = "researcher.agents.svc.cluster.local";
/// How long an edit may take until it is in force.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// The weights as the file says them, and as the edit leaves them.
const BEFORE: [&str; 2] = ["weight: 1000000", "weight: 0"];
const AFTER: [&str; 2] = ["weight: 1}", "weight: 1000000"];

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let card = send(stage, "GET", "/.well-known/agent-card.json", Value::Null).await?;
    let of = |list: &str, field: &str| -> Vec<String> {
        let entries = card["body"][list].as_array().into_iter().flatten();
        entries.filter_map(|entry| entry[field].as_str().map(str::to_owned)).collect()
    };
    let (skills, urls) = (of("skills", "id"), of("supportedInterfaces", "url"));
    let leads = !urls.is_empty() && urls.iter().all(|url| url.starts_with(&format!("http://{HOST}")));
    let path = urls.first().and_then(|url| url.split_once(HOST)).map_or("/rpc", |(_, path)| path).to_owned();

    let first = message(stage, &path, "SendMessage", None).await?;
    let begun = first["body"]["result"]["message"].clone();
    let context = begun["contextId"].as_str().unwrap_or("none").to_owned();
    let streamed = message(stage, &path, "SendStreamingMessage", None).await?;
    let events = streamed["body"].as_array().cloned().unwrap_or_default();
    let artifact = events
        .iter()
        .find_map(|event| event["result"]["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str());
    let artifact = artifact.unwrap_or("nothing").to_owned();
    let done = events
        .last()
        .is_some_and(|event| event["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED");
    let cancel = json!({ "jsonrpc": "2.0", "id": 1, "method": "CancelTask", "params": { "id": "task-1" } });
    let refused = send(stage, "POST", &path, cancel).await?;
    // The agent itself, which has no such method either, would say so in other words.
    let why = refused["body"]["error"]["message"].as_str().unwrap_or("no error").to_owned();
    let was_refused = refused["body"]["result"].is_null() && why == "Method not found";

    let file = stage.east.files().join("researcher-route.yaml");
    let text = fs::read_to_string(&file)?;
    anyhow::ensure!(
        BEFORE.iter().all(|weight| text.contains(weight)),
        "{} has other weights",
        file.display()
    );
    let [old, new] = AFTER;
    let moved = text.replace("weight: 1000000}", old).replace(BEFORE[1], new);
    fs::write(&file, moved)?;
    let new_one = until(WAIT_MAX, || async {
        let answer = message(stage, &path, "SendMessage", None).await?;
        Ok(said(&answer["body"]["result"]["message"]).starts_with("researcher-v2"))
    })
    .await?;
    let mut stayed = 0;
    for _ in 0..5 {
        let again = message(stage, &path, "SendMessage", Some(&context)).await?;
        stayed += u32::from(said(&again["body"]["result"]["message"]).starts_with("researcher-v1"));
    }
    let ok = skills == ["search"]
        && leads
        && said(&begun).starts_with("researcher-v1")
        && artifact.starts_with("researcher-v1")
        && done
        && was_refused
        && new_one.is_some()
        && stayed == 5;
    Ok(Scene::new(
        ok,
        format!(
            "the card shows the skills {skills:?} and leads to {urls:?}\n\
             SendMessage: {:?}; streamed in {} events: {artifact:?}\n\
             CancelTask, which was not granted: {} {}\n\
             the route was moved: new conversations at researcher-v2 after {}; of 5 more messages in the first one, \
             {stayed} reached researcher-v1",
            said(&begun),
            events.len(),
            refused["status"],
            why,
            new_one.map_or("never".to_owned(), |took| format!("{} ms", took.as_millis())),
        ),
        "the waypoint reads A2A: it grants methods and skills, removes from the card what planner may not use and URLs \
         that lead past the mesh, and leads a context to the version that began it while the route leads there at all",
    ))
}

fn said(message: &Value) -> &str {
    message["parts"][0]["text"].as_str().unwrap_or("nothing")
}

async fn message(stage: &Stage, path: &str, method: &str, context: Option<&str>) -> anyhow::Result<Value> {
    let id = format!("message-{:016x}", rand::random::<u64>());
    let mut message = json!({ "messageId": id, "role": "ROLE_USER", "parts": [{ "text": "tides" }] });
    message["metadata"]["skill"] = json!("search");
    if let Some(context) = context {
        message["contextId"] = json!(context);
    }
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": { "message": message } });
    send(stage, "POST", path, call).await
}

async fn send(stage: &Stage, method: &str, path: &str, body: Value) -> anyhow::Result<Value> {
    let headers = [("content-type", "application/json"), ("a2a-version", "1.0")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let url = format!("http://{HOST}{path}");
    stage.planner.tell(&AgentCommand::Send { method: method.to_owned(), url, headers, body }).await
}
