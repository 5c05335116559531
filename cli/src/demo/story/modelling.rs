//! Step 12: a model by a name of the mesh, with a key that the agent never sees, and an allowance that holds.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::scene::{Scene, post, until};
use crate::demo::stage::Stage;

const URL: &str = "http://models.shop.mesh/v1/chat/completions";
/// The allowance as `models.yaml` says it: tokens in a minute.
const ALLOWANCE: u64 = 2000;
/// So many streams are open at once, each of so many words at most.
const STREAMS: usize = 40;
const WORDS: u64 = 100;
/// How long the servers may take to note their last words.
const WAIT_MAX: Duration = Duration::from_secs(5);

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let agent = &stage.planner;
    let mut heard = Vec::new();
    let whole = post(agent, URL, asked("small", "say 10 words", 20, false)).await?;
    let said = whole["body"]["choices"][0]["message"]["content"].as_str().unwrap_or("nothing").to_owned();
    let streamed = post(agent, URL, asked("small", "say 10 words", 20, true)).await?;
    let words = spoken(&streamed);
    let other = post(agent, URL, asked("large", "say 10 words", 20, false)).await?;
    heard.extend([whole.clone(), streamed, other.clone()]);

    stage.application("model-one")?.kill().await?;
    let agent = &stage.planner;
    let second = post(agent, URL, asked("small", "say 10 words", 20, false)).await?;
    let by_second = served(stage, "model-two")?.len();
    heard.push(second.clone());

    // Many streams at once, each of which could take all that it may: more than is left.
    let ask = || post(agent, URL, asked("small", &format!("say {WORDS} words"), WORDS, true));
    let streams: Vec<Value> =
        join_all((0..STREAMS).map(|_| ask())).await.into_iter().collect::<Result<_, _>>()?;
    let admitted = streams.iter().filter(|answer| answer["status"] == 200).count();
    let refused: Vec<&Value> = streams.iter().filter(|answer| answer["status"] == 429).collect();
    let named = refused.iter().all(|answer| answer["body"].to_string().contains("tokens-a-minute"));
    let cut =
        streams.iter().filter(|answer| answer["status"] == 200 && spoken(answer) as u64 != WORDS).count();
    heard.extend(streams.iter().cloned());

    let expected = 3 + admitted;
    let noted = until(WAIT_MAX, || async {
        Ok(served(stage, "model-one")?.len() + served(stage, "model-two")?.len() >= expected)
    })
    .await?
    .is_some();
    let tokens: u64 = ["model-one", "model-two"]
        .into_iter()
        .map(|name| served(stage, name))
        .collect::<anyhow::Result<Vec<_>>>()?
        .iter()
        .flatten()
        .filter_map(|row| row["tokens"].as_u64())
        .sum();
    let seen = heard.iter().any(|answer| answer.to_string().contains(&stage.secrets.model_key));
    stage.application("model-one")?.restart()?;

    let why = |answer: &Value| answer["body"]["error"]["message"].as_str().unwrap_or("nothing").to_owned();
    let within = tokens > 0 && tokens <= ALLOWANCE;
    let ok = whole["status"] == 200
        && said.contains("mock")
        && words == 10
        && other["status"].as_u64().is_some_and(|status| (400..500).contains(&status))
        && second["status"] == 200
        && by_second == 1
        && admitted > 0
        && !refused.is_empty()
        && admitted + refused.len() == STREAMS
        && named
        && cut == 0
        && noted
        && within
        && !seen;
    Ok(Scene::new(
        ok,
        format!(
            "small: {said:?}, {} tokens; streamed: {words} words\n\
             large, which was not granted: {} {}\n\
             the first provider killed; the second: {}, {by_second} answer of its own\n\
             {STREAMS} streams at once: {admitted} admitted, {} refused with 429: {}\n\
             the servers say that they served {tokens} tokens of {ALLOWANCE}; the key was in {} of {} answers",
            whole["body"]["usage"]["total_tokens"],
            other["status"],
            why(&other),
            second["status"],
            refused.len(),
            refused.first().map_or_else(|| "nobody".to_owned(), |answer| why(answer)),
            if seen { "SOME" } else { "none" },
            heard.len(),
        ),
        "the waypoint holds the providers' key and shows it to them alone; it reserves what a request may take at \
         most before it asks, and settles when the provider has said what it took. The model servers are mocks, whose \
         tokens are words",
    ))
}

fn asked(model: &str, say: &str, most: u64, stream: bool) -> Value {
    json!({
        "model": model, "stream": stream, "max_tokens": most,
        "messages": [{ "role": "user", "content": say }],
    })
}

/// How many words came in a stream.
fn spoken(answer: &Value) -> usize {
    let events = answer["body"].as_array().into_iter().flatten();
    let text: Vec<&str> =
        events.filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    text.concat().split_whitespace().count()
}

/// What a model server says that it served.
fn served(stage: &Stage, name: &str) -> anyhow::Result<Vec<Value>> {
    let server = stage.applications.iter().find(|one| one.name() == name);
    let said = server.map(|one| one.said()).transpose()?.unwrap_or_default();
    let rows = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(rows.filter(|row| row["tokens"].is_u64()).collect())
}
