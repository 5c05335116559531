//! Step 11: one agent talks to another in the other cluster, and its conversation stays where it began.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::scene::{Scene, after, until};
use crate::{apps::AgentCommand, demo::stage::Stage};

/// The other agent, as its callers know it.
const HOST: &str = "researcher.shop.mesh";
/// The weights as the file says them, and as the edit leaves them.
const BEFORE: [&str; 2] = ["weight: 1000000", "weight: 0"];
const AFTER: [&str; 2] = ["weight: 1}", "weight: 1000000"];
/// How many messages show that a conversation stays.
const MESSAGES: u32 = 5;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let card = Card::of(stage).await?;
    let first = message(stage, &card.path, "SendMessage", SEARCH).await?;
    let begun = first["body"]["result"]["message"].clone();
    let context = begun["contextId"].as_str().unwrap_or("none").to_owned();
    let streamed = Streamed::of(&message(stage, &card.path, "SendStreamingMessage", SEARCH).await?);
    let cancel = json!({ "jsonrpc": "2.0", "id": 1, "method": "CancelTask", "params": { "id": "task-1" } });
    let method = send(stage, "POST", &card.path, cancel).await?;
    let skill = message(stage, &card.path, "SendMessage", About { skill: "delete", context: None }).await?;
    let moved = Moved::of(stage, &card.path, &context).await?;
    let ok = card.skills == ["search"]
        && card.leads()
        && said(&begun).starts_with("researcher-v1")
        && streamed.artifact.starts_with("researcher-v1")
        && streamed.done
        && refused(&method)
        && refused(&skill)
        && moved.took.is_some()
        && moved.stayed == MESSAGES;
    Ok(Scene::new(
        ok,
        format!(
            "the card shows the skills {:?} and leads to {:?}\n\
             SendMessage: {:?}; streamed in {} events: {:?}\n\
             CancelTask, which was not granted: {}; a message for the skill delete: {}\n\
             the route was moved: new conversations at researcher-v2 after {}; of {MESSAGES} more messages in the first \
             one, {} reached researcher-v1",
            card.skills,
            card.urls,
            said(&begun),
            streamed.events,
            streamed.artifact,
            why(&method),
            why(&skill),
            after(moved.took),
            moved.stayed,
        ),
        "planner's waypoint in east reads A2A: it grants methods and skills, and removes from the card what planner may \
         not use and URLs that lead past the mesh; it says for whom it calls, and west, whose link lists it as a voucher, \
         grants planner and not the waypoint; researcher's waypoint in west leads a context to the version that began it, \
         while the route leads there at all",
    ))
}

/// What the agent's card says.
struct Card {
    skills: Vec<String>,
    urls: Vec<String>,
    /// The path of the first URL.
    path: String,
}

impl Card {
    async fn of(stage: &Stage) -> anyhow::Result<Self> {
        let card = send(stage, "GET", "/.well-known/agent-card.json", Value::Null).await?;
        let of = |list: &str, field: &str| -> Vec<String> {
            let entries = card["body"][list].as_array().into_iter().flatten();
            entries.filter_map(|entry| entry[field].as_str().map(str::to_owned)).collect()
        };
        let (skills, urls) = (of("skills", "id"), of("supportedInterfaces", "url"));
        let path =
            urls.first().and_then(|url| url.split_once(HOST)).map_or("/rpc", |(_, path)| path).to_owned();
        Ok(Self { skills, urls, path })
    }

    /// Whether every URL leads through the mesh.
    fn leads(&self) -> bool {
        !self.urls.is_empty() && self.urls.iter().all(|url| url.starts_with(&format!("http://{HOST}")))
    }
}

/// What a stream of an answer said.
struct Streamed {
    events: usize,
    artifact: String,
    done: bool,
}

impl Streamed {
    fn of(answer: &Value) -> Self {
        let events = answer["body"].as_array().map(Vec::as_slice).unwrap_or_default();
        let artifact = events
            .iter()
            .find_map(|event| event["result"]["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str());
        let last = events.last().map(|event| &event["result"]["statusUpdate"]["status"]["state"]);
        Self {
            events: events.len(),
            artifact: artifact.unwrap_or("nothing").to_owned(),
            done: last.is_some_and(|state| state == "TASK_STATE_COMPLETED"),
        }
    }
}

/// What came of moving the route.
struct Moved {
    /// When new conversations began at the new version.
    took: Option<Duration>,
    /// How many messages of the old conversation reached the old one.
    stayed: u32,
}

impl Moved {
    async fn of(stage: &Stage, path: &str, context: &str) -> anyhow::Result<Self> {
        let file = stage.west.files().join("researcher-route.yaml");
        let text = fs::read_to_string(&file)?;
        let known = BEFORE.iter().all(|weight| text.contains(weight));
        anyhow::ensure!(known, "{} has other weights", file.display());
        let [old, new] = AFTER;
        fs::write(&file, text.replace("weight: 1000000}", old).replace(BEFORE[1], new))?;
        let took = until(|| async {
            let answer = message(stage, path, "SendMessage", SEARCH).await?;
            Ok(said(&answer["body"]["result"]["message"]).starts_with("researcher-v2"))
        })
        .await?;
        let mut stayed = 0;
        for _ in 0..MESSAGES {
            let about = About { context: Some(context), ..SEARCH };
            let again = message(stage, path, "SendMessage", about).await?;
            stayed += u32::from(said(&again["body"]["result"]["message"]).starts_with("researcher-v1"));
        }
        Ok(Self { took, stayed })
    }
}

/// What a message is about.
#[derive(Clone, Copy)]
struct About<'a> {
    skill: &'a str,
    context: Option<&'a str>,
}

/// The skill that planner was granted, in a new conversation.
const SEARCH: About<'static> = About { skill: "search", context: None };

fn said(message: &Value) -> &str {
    message["parts"][0]["text"].as_str().unwrap_or("nothing")
}

fn why(answer: &Value) -> &str {
    answer["body"]["error"]["message"].as_str().unwrap_or("no error")
}

/// What is not granted does not exist. The agent itself, which has no such method either, would say so in other words.
fn refused(answer: &Value) -> bool {
    answer["body"]["result"].is_null() && why(answer) == "Method not found"
}

async fn message(stage: &Stage, path: &str, method: &str, about: About<'_>) -> anyhow::Result<Value> {
    let id = format!("message-{:016x}", rand::random::<u64>());
    let mut message = json!({ "messageId": id, "role": "ROLE_USER", "parts": [{ "text": "tides" }] });
    message["metadata"]["skill"] = json!(about.skill);
    if let Some(context) = about.context {
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
