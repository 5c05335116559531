//! Budgets of tokens: nothing goes over, and the books agree with what the provider says it served.
#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use exchange::{BodyError, CallError};
use http::StatusCode;
use http_body_util::BodyExt;
use mesh::{
    Reason,
    resource::{LlmApi, Mode},
};
use serde_json::{Value, json};
use support::{Book, Reached, Told, World, json as answer, post, quota, sse, sse_text, status};

const OPENAI: LlmApi = LlmApi::OpenAi;

/// A provider of ours that serves as much as it may, and counts.
#[derive(Default)]
struct Served {
    tokens: AtomicU64,
    calls: AtomicU64,
}

/// What this provider counts of a prompt: a token for every word.
fn words(body: &Value) -> u64 {
    let mut count = 0;
    for message in body["messages"].as_array().into_iter().flatten() {
        count += message["content"].as_str().unwrap_or_default().split_whitespace().count() as u64 + 3;
    }
    count
}

fn served(body: &Value, served: &Served) -> (u64, u64) {
    let input = words(body);
    let most = body["max_tokens"].as_u64().or(body["max_completion_tokens"].as_u64()).unwrap_or(1_000_000);
    let output = most * body["n"].as_u64().unwrap_or(1);
    served.tokens.fetch_add(input + output, Ordering::SeqCst);
    served.calls.fetch_add(1, Ordering::SeqCst);
    (input, output)
}

fn usage(input: u64, output: u64) -> Value {
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

fn chunk(text: &str, reason: Option<&str>) -> Value {
    json!({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})
}

fn whole(input: u64, output: u64) -> Value {
    let message = json!({"role": "assistant", "content": "x"});
    json!({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "length"}], "usage": usage(input, output)})
}

fn request(at: u64) -> Value {
    let mut body = json!({"model": "small", "messages": [{"role": "user", "content": "say something long"}]});
    match at % 6 {
        0 => {}
        1 => body["stream"] = json!(true),
        2 => {
            body["stream"] = json!(true);
            body["stream_options"] = json!({"include_usage": false});
            body["max_tokens"] = json!(40);
        }
        3 => {
            body["n"] = json!(3);
            body["max_tokens"] = json!(20);
        }
        4 => body["max_completion_tokens"] = json!(70),
        _ => {
            body["stream"] = json!(true);
            body["max_tokens"] = json!(30);
        }
    }
    body
}

// Attack class: budget bypass by streaming and race.
#[tokio::test]
async fn attack_budget_race_a_thousand_at_once_take_not_one_token_more() {
    const BUDGET: u64 = 20_000;
    let book = Arc::new(Served::default());
    let counted = Arc::clone(&book);
    let provider = move |reached: &Reached| {
        // The first fails in every way in turn; what it served before it failed it also bills.
        let turn = counted.calls.load(Ordering::SeqCst);
        if reached.provider == "a" && turn.is_multiple_of(3) {
            return match turn / 3 % 5 {
                0 => Ok(status(500, json!({}))),
                1 => Ok(status(429, json!({}))),
                2 => {
                    served(&reached.body, &counted);
                    Err(CallError::BadAnswer("it broke off".into()))
                }
                3 => {
                    served(&reached.body, &counted);
                    Ok(answer(json!({"error": {"message": "after it was served"}})))
                }
                _ => Err(CallError::Unresolved("".into())),
            };
        }
        let (input, output) = served(&reached.body, &counted);
        if reached.body["stream"] == true {
            assert_eq!(reached.body["stream_options"]["include_usage"], true);
            let mut events = vec![chunk("x", None); 20];
            events.extend([
                chunk("", Some("length")),
                json!({"choices": [], "usage": usage(input, output)}),
                json!("[DONE]"),
            ]);
            let chunks = events.iter().map(|event| Ok(sse_text(std::slice::from_ref(event)).into()));
            return Ok(support::sse_bytes(chunks.collect()));
        }
        Ok(answer(whole(input, output)))
    };
    let world = Arc::new(World::new(&[("a", OPENAI), ("b", OPENAI)], provider).with_budget(BUDGET));
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..1000_u64 {
        let world = Arc::clone(&world);
        tasks.spawn(async move {
            let response = world.respond(post("/v1/chat/completions", request(at))).await;
            let status = response.status();
            let mut body = response.into_body();
            tokio::task::yield_now().await;
            if at % 7 == 3 {
                // Leaves after a part of it.
                let _ = body.frame().await;
                tokio::task::yield_now().await;
                drop(body);
            } else {
                let text = body.collect().await.unwrap().to_bytes();
                if at % 6 == 2 && status.is_success() {
                    assert!(!String::from_utf8_lossy(&text).contains("usage"));
                }
            }
            status
        });
    }
    let statuses = tasks.join_all().await;
    let page = world.book.page();
    let tokens = book.tokens.load(Ordering::SeqCst);
    assert!(tokens <= BUDGET, "{tokens} served of {BUDGET}");
    assert!(page.peak <= BUDGET && page.used <= BUDGET, "{page:?}");
    assert_eq!((page.held, page.beyond), (0, 0));
    // The books never say less than was served.
    assert!(page.used >= tokens, "{page:?}, {tokens} served");
    assert!(statuses.iter().filter(|status| **status == StatusCode::TOO_MANY_REQUESTS).count() > 100);
    assert!(statuses.iter().filter(|status| status.is_success()).count() > 50);
}

#[tokio::test]
async fn where_nothing_fails_and_nobody_leaves_the_books_agree_to_the_token() {
    let book = Arc::new(Served::default());
    let counted = Arc::clone(&book);
    let provider = move |reached: &Reached| {
        let (input, output) = served(&reached.body, &counted);
        if reached.body["stream"] == true {
            let last = json!({"choices": [], "usage": usage(input, output)});
            return Ok(sse(&[chunk("x", None), chunk("", Some("length")), last, json!("[DONE]")]));
        }
        Ok(answer(whole(input, output)))
    };
    let world = World::new(&[("a", OPENAI)], provider).with_budget(1_000_000);
    for at in 0..300 {
        assert_eq!(world.ask(post("/v1/chat/completions", request(at))).await.status, StatusCode::OK);
    }
    assert_eq!(world.book.page().used, book.tokens.load(Ordering::SeqCst));
}

#[tokio::test]
async fn the_reserved_default_is_sent_where_the_caller_names_no_limit() {
    let world = |api| World::new(&[("a", api)], |_| Ok(answer(json!({})))).with_budget(1_000_000);
    for (path, body, api, field, expected) in [
        ("/v1/chat/completions", json!({"messages": []}), OPENAI, "max_tokens", json!(50)),
        (
            "/v1/chat/completions",
            json!({"messages": [], "max_tokens": null}),
            OPENAI,
            "max_tokens",
            json!(50),
        ),
        ("/v1/chat/completions", json!({"messages": [], "max_tokens": 9}), OPENAI, "max_tokens", json!(9)),
        (
            "/v1/chat/completions",
            json!({"messages": [], "max_completion_tokens": 9}),
            OPENAI,
            "max_completion_tokens",
            json!(9),
        ),
        // The limit of another API is no limit.
        (
            "/v1/chat/completions",
            json!({"messages": [], "max_output_tokens": 9}),
            OPENAI,
            "max_tokens",
            json!(50),
        ),
        ("/v1/responses", json!({"input": "x"}), OPENAI, "max_output_tokens", json!(50)),
        ("/v1/responses", json!({"input": "x", "max_tokens": 9}), OPENAI, "max_output_tokens", json!(50)),
        ("/v1/responses", json!({"input": "x"}), LlmApi::Anthropic, "max_tokens", json!(50)),
        ("/v1/chat/completions", json!({"messages": []}), LlmApi::Anthropic, "max_tokens", json!(50)),
        ("/v1/messages", json!({"messages": []}), LlmApi::Anthropic, "max_tokens", json!(50)),
        ("/v1/messages", json!({"messages": []}), OPENAI, "max_tokens", json!(50)),
    ] {
        let world = world(api);
        let mut request = body.clone();
        request["model"] = json!("small");
        world.ask(post(path, request)).await;
        assert_eq!(world.reached()[0].body[field], expected, "{path} {body}");
    }
    // Models that reason have a field of their own.
    let mut reasons = world(OPENAI);
    reasons.groups[0].providers[0].models.insert("small".into(), "o3-mini".into());
    reasons.ask(post("/v1/chat/completions", json!({"model": "small", "messages": []}))).await;
    assert_eq!(reasons.reached()[0].body["max_completion_tokens"], 50);
}

#[tokio::test]
async fn a_refusal_names_the_limit_and_its_reset_and_reaches_nobody() {
    let world = World::new(&[("a", OPENAI)], |_| Ok(answer(whole(1, 1)))).with_budget(100);
    let body = json!({"model": "small", "max_tokens": 101, "messages": []});
    let said = world.ask(post("/v1/chat/completions", body)).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    let error = &said.json()["error"];
    assert!(error["message"].as_str().unwrap().contains("shop/tokens"), "{error}");
    assert!(error["message"].as_str().unwrap().contains("minute"), "{error}");
    assert_eq!((&error["reason"], &error["type"]), (&json!("QuotaExceeded"), &json!("rate_limit_exceeded")));
    assert_eq!(said.headers["x-should-retry"], "false");
    assert_eq!(said.headers["x-ratelimit-limit-tokens"], "100");
    assert!(world.order().is_empty());
    // One that fits later says when.
    let body = |most: u64| json!({"model": "small", "max_tokens": most, "messages": []});
    let world = World::new(&[("a", OPENAI)], |_| Ok(sse(&[]))).with_budget(100);
    world.ask(post("/v1/chat/completions", body(60))).await;
    let said = world.ask(post("/v1/messages", body(60))).await;
    assert_eq!(said.headers["retry-after"], "30");
    assert_eq!(said.headers["anthropic-ratelimit-tokens-limit"], "100");
    assert_eq!(said.json()["error"]["type"], "rate_limit_error");
}

// Attack class: usage that lies.
#[tokio::test]
async fn attack_budget_usage_that_lies_is_charged_whole_or_not_believed() {
    for (usage, expected) in [
        // Honest.
        (json!({"prompt_tokens": 10, "completion_tokens": 5}), 15),
        // More than was reserved: charged in full.
        (json!({"prompt_tokens": 10, "completion_tokens": 5000}), 5010),
        (json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3000}), 3000),
        // What cannot be: all that was reserved.
        (json!({"prompt_tokens": -10, "completion_tokens": 5}), 0),
        (json!({"prompt_tokens": 10, "completion_tokens": -5}), 0),
        (json!({"prompt_tokens": 0, "completion_tokens": 5}), 0),
        (json!({"prompt_tokens": 10, "completion_tokens": 0}), 0),
        (json!({"prompt_tokens": "10", "completion_tokens": "5"}), 0),
        (json!({"prompt_tokens": 1.5, "completion_tokens": 5}), 0),
        (json!({}), 0),
        (json!(null), 0),
        (json!([]), 0),
    ] {
        for stream in [false, true] {
            let said = usage.clone();
            let world = World::new(&[("a", OPENAI)], move |_| {
                let mut whole = whole(1, 1);
                whole["usage"] = said.clone();
                let last = json!({"choices": [], "usage": said});
                Ok(match stream {
                    true => sse(&[chunk("x", None), chunk("", Some("stop")), last, json!("[DONE]")]),
                    false => answer(whole),
                })
            })
            .with_budget(100_000);
            let body = json!({"model": "small", "max_tokens": 100, "stream": stream, "messages": []});
            world.ask(post("/v1/chat/completions", body)).await;
            let page = world.book.page();
            let expected = if expected == 0 { page.peak } else { expected };
            assert_eq!((page.used, page.held), (expected, 0), "{usage} {stream}");
            assert!(page.peak >= 100);
        }
    }
}

#[tokio::test]
async fn every_attempt_costs_what_it_may_have_cost() {
    let reserved = {
        let world =
            World::new(&[("a", OPENAI)], |_| Err(CallError::BadAnswer("".into()))).with_budget(100_000);
        world.ask(post("/v1/chat/completions", request(0))).await;
        world.book.page().used
    };
    assert!(reserved > 50);
    let input = (reserved - 50) * 5 / 6;
    type Serve = fn() -> Result<exchange::Response, CallError>;
    let cases: Vec<(&str, Serve, u64)> = vec![
        ("never sent", || Err(CallError::Unresolved("".into())), 0),
        ("429", || Ok(status(429, json!({}))), 0),
        ("400", || Ok(status(400, json!({}))), 0),
        ("500", || Ok(status(500, json!({}))), input),
        ("timed out", || Err(CallError::TimedOut(std::time::Duration::from_secs(1))), reserved),
        ("html", || Ok(support::sse_bytes(vec![])), reserved),
        ("malformed", || Ok(answer(json!({"odd": 1}))), reserved),
    ];
    for (what, serve, expected) in cases {
        let world = World::new(&[("a", OPENAI)], move |_| serve()).with_budget(100_000);
        world.ask(post("/v1/chat/completions", request(0))).await;
        let used = world.book.page().used;
        assert!(used.abs_diff(expected) <= 1, "{what}: {used}, not {expected}");
    }
    // A stream that breaks after its first token costs all; one that said its usage before costs that.
    let broken = |events: Vec<Value>| {
        World::new(&[("a", OPENAI)], move |_| {
            Ok(support::sse_bytes(vec![Ok(sse_text(&events).into()), Err(BodyError::Cut("gone".into()))]))
        })
        .with_budget(100_000)
    };
    let world = broken(vec![chunk("x", None)]);
    world.ask(post("/v1/chat/completions", request(1))).await;
    assert!(world.book.page().used >= 50);
    let last = json!({"choices": [], "usage": usage(9, 3)});
    let world = broken(vec![chunk("x", None), chunk("", Some("stop")), last]);
    world.ask(post("/v1/chat/completions", request(1))).await;
    assert_eq!(world.book.page().used, 12);
}

#[tokio::test]
async fn what_cannot_be_counted_is_refused_where_a_quota_applies_and_only_there() {
    let body = json!({"model": "small", "input": "x", "previous_response_id": "r", "tools": [{"type": "web_search"}]});
    let serve =
        |_: &Reached| Ok(answer(json!({"output": [], "usage": {"input_tokens": 1, "output_tokens": 1}})));
    let world = World::new(&[("a", OPENAI)], serve).with_budget(1_000_000);
    let said = world.ask(post("/v1/responses", body.clone())).await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    assert_eq!(said.json()["error"]["param"], "previous_response_id");
    assert!(world.order().is_empty());
    assert_eq!(
        World::new(&[("a", OPENAI)], serve).ask(post("/v1/responses", body.clone())).await.status,
        StatusCode::OK
    );
    // A quota in audit decides nothing, and changes nothing.
    let mut world = World::new(&[("a", OPENAI)], serve);
    world.told = Arc::new(Told { quotas: vec![quota(10_000, Mode::Audit)] });
    world.book = Book::of(10_000);
    assert_eq!(world.ask(post("/v1/responses", body)).await.status, StatusCode::OK);
    assert_eq!(world.reached()[0].body.get("max_output_tokens"), None);
}

#[tokio::test]
async fn attack_budget_huge_limits_are_refused_and_embeddings_cost_their_input() {
    let world = World::new(&[("a", OPENAI)], |_| Ok(answer(whole(1, 1)))).with_budget(1_000);
    for (field, value) in
        [("max_tokens", u64::MAX / 2), ("max_tokens", 1 << 40), ("max_completion_tokens", 1 << 39)]
    {
        let body = json!({"model": "small", field: value, "n": 128, "messages": []});
        let status = world.ask(post("/v1/chat/completions", body)).await.status;
        assert!(matches!(status.as_u16(), 403 | 429), "{field} {value}: {status}");
    }
    assert!(world.order().is_empty());
    let world = World::new(&[("a", OPENAI)], |_| {
        Ok(answer(json!({"object": "list", "data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}})))
    })
    .with_budget(200);
    let body = json!({"model": "small", "input": ["one", "two"]});
    assert_eq!(world.ask(post("/v1/embeddings", body)).await.status, StatusCode::OK);
    assert_eq!(world.book.page().used, 7);
    assert_eq!(world.reached()[0].path, "/v1/embeddings");
    assert_eq!(world.reached()[0].body.get("max_tokens"), None);
    let refused: Vec<Reason> = world.refusals.0.lock().unwrap().iter().map(|denial| denial.reason).collect();
    assert!(refused.is_empty());
}
