//! Step 12: a model by a name of the mesh, with a key that the agent never sees, and an allowance that holds.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::scene::{Scene, post, until};
use crate::demo::stage::Stage;

const URL: &str = "http://models.shop.mesh/v1/chat/completions";
/// The model servers, in the order in which they are asked.
const PROVIDERS: [&str; 2] = ["model-one", "model-two"];
/// The allowance as `models.yaml` says it: so many tokens in a window, which begins with the first.
const ALLOWANCE: u64 = 2000;
const WINDOW: Duration = Duration::from_secs(60);
/// So many streams are open at once, each of so many words at most.
const STREAMS: usize = 40;
const WORDS: u64 = 100;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let start = Instant::now();
    let agent = &stage.planner;
    let whole = post(agent, URL, asked("small", "say 10 words", 20, false)).await?;
    let said = whole["body"]["choices"][0]["message"]["content"].as_str().unwrap_or("nothing").to_owned();
    let streamed = post(agent, URL, asked("small", "say 10 words", 20, true)).await?;
    let words = spoken(&streamed);
    let other = post(agent, URL, asked("large", "say 10 words", 20, false)).await?;

    stage.application(PROVIDERS[0])?.kill().await?;
    let second = post(&stage.planner, URL, asked("small", "say 10 words", 20, false)).await?;
    let by_second = served(stage, PROVIDERS[1])?.len();
    let many = Many::of(stage).await?;
    // Of these, three were answered before.
    let books = Books::of(stage, 3 + many.admitted, start).await?;
    stage.application(PROVIDERS[0])?.restart()?;

    let heard = [&whole, &streamed, &other, &second].into_iter().chain(&many.answers);
    let showed = heard.filter(|answer| answer.to_string().contains(&stage.secrets.model_key)).count();
    let ok = whole["status"] == 200
        && said.contains("mock")
        && words == 10
        && other["status"].as_u64().is_some_and(|status| (400..500).contains(&status))
        && second["status"] == 200
        && by_second == 1
        && many.as_they_should()
        && books.within()
        && showed == 0;
    Ok(Scene::new(
        ok,
        format!(
            "small: {said:?}, {} tokens; streamed: {words} words\n\
             large, which was not granted: {} {}\n\
             the first provider killed; the second: {}, {by_second} answer of its own\n\
             {STREAMS} streams at once: {} admitted, {} refused with 429: {}\n\
             the servers say that they served {} tokens of {}; the key was in {showed} of {} answers",
            whole["body"]["usage"]["total_tokens"],
            other["status"],
            why(&other),
            second["status"],
            many.admitted,
            many.refused,
            many.why,
            books.tokens,
            books.allowed,
            4 + many.answers.len(),
        ),
        "the waypoint holds the providers' key and shows it to them alone; it reserves what a request may take at \
         most before it asks, and settles when the provider has said what it took. The model servers are mocks, whose \
         tokens are words",
    ))
}

/// What came of many streams at once, each of which could take all that it may: more than is left.
struct Many {
    answers: Vec<Value>,
    admitted: usize,
    refused: usize,
    /// Those that were admitted and did not come whole.
    cut: usize,
    /// Whether each refusal named the limit.
    named: bool,
    /// What the first of them said.
    why: String,
}

impl Many {
    async fn of(stage: &Stage) -> anyhow::Result<Self> {
        let ask = || post(&stage.planner, URL, asked("small", &format!("say {WORDS} words"), WORDS, true));
        let answers = join_all((0..STREAMS).map(|_| ask())).await;
        let answers: Vec<Value> = answers.into_iter().collect::<Result<_, _>>()?;
        let of = |status: u16| answers.iter().filter(move |answer| answer["status"] == status);
        Ok(Self {
            admitted: of(200).count(),
            refused: of(429).count(),
            cut: of(200).filter(|answer| spoken(answer) as u64 != WORDS).count(),
            named: of(429).all(|answer| answer["body"].to_string().contains("tokens-a-minute")),
            why: of(429).next().map_or("nobody", why).to_owned(),
            answers,
        })
    }

    fn as_they_should(&self) -> bool {
        self.admitted > 0
            && self.refused > 0
            && self.admitted + self.refused == STREAMS
            && self.cut == 0
            && self.named
    }
}

/// What the providers say that they served.
struct Books {
    tokens: u64,
    /// How many could be served: as often as a window has begun.
    allowed: u64,
    /// Whether they noted every answer.
    complete: bool,
}

impl Books {
    async fn of(stage: &Stage, answers: usize, start: Instant) -> anyhow::Result<Self> {
        let all = || -> anyhow::Result<Vec<Value>> {
            let rows = PROVIDERS.map(|name| served(stage, name));
            Ok(rows.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
        };
        let complete = until(|| async { Ok(all()?.len() >= answers) }).await?.is_some();
        let windows = 1 + start.elapsed().as_secs() / WINDOW.as_secs();
        let tokens = all()?.iter().filter_map(|row| row["tokens"].as_u64()).sum();
        Ok(Self { tokens, allowed: ALLOWANCE * windows, complete })
    }

    fn within(&self) -> bool {
        self.complete && self.tokens > 0 && self.tokens <= self.allowed
    }
}

fn why(answer: &Value) -> &str {
    answer["body"]["error"]["message"].as_str().unwrap_or("nothing")
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
