//! Whatever arrives, from callers or providers: nothing panics, and what goes out is well-formed.
#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use exchange::{Body, sse::Event};
use mesh::resource::LlmApi;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{World, post};

fn run<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Values that are almost those of the protocols.
fn value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "text",
        "content",
        "role",
        "user",
        "assistant",
        "tool",
        "type",
        "image_url",
        "input_audio",
        "tool_use",
        "tool_result",
        "id",
        "name",
        "arguments",
        "{}",
        "delta",
        "content_block_delta",
        "text_delta",
        "message_start",
        "message_delta",
        "message_stop",
        "response.completed",
        "response.output_text.delta",
        "stop",
        "",
        "é\u{1f600}",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "type",
        "role",
        "content",
        "text",
        "messages",
        "input",
        "tools",
        "tool_calls",
        "function",
        "name",
        "arguments",
        "id",
        "index",
        "delta",
        "choices",
        "message",
        "usage",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "finish_reason",
        "stop_reason",
        "content_block",
        "error",
        "response",
        "output",
        "source",
        "image_url",
        "url",
        "system",
        "partial_json",
        "output_index",
        "item",
        "max_tokens",
        "n",
        "stream",
    ]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

const PATHS: [&str; 4] = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_request_is_answered(body in value(), path in 0_usize..4, anthropic: bool, budget: bool) {
        let mut body = body;
        if body.is_object() {
            body["model"] = json!("small");
        }
        let api = if anthropic { LlmApi::Anthropic } else { LlmApi::OpenAi };
        let mut world = World::new(&[("a", api)], |_| Ok(support::json(json!({}))));
        if budget {
            world = world.with_budget(100_000);
        }
        let said = run(world.ask(post(PATHS[path], body)));
        prop_assert!(said.json()["error"].is_object());
        prop_assert_eq!(world.book.page().held, 0);
    }

    #[test]
    fn any_bytes_of_a_caller_are_answered(body: Vec<u8>, path in 0_usize..4) {
        let world = World::new(&[("a", LlmApi::OpenAi)], |_| Ok(support::json(json!({}))));
        let mut request = post(PATHS[path], json!({}));
        *request.body_mut() = Body::held_bytes(body);
        let said = run(world.ask(request));
        prop_assert!(said.json()["error"].is_object());
    }

    #[test]
    fn any_answer_ends_well(body in value(), path in 0_usize..4, anthropic: bool) {
        let api = if anthropic { LlmApi::Anthropic } else { LlmApi::OpenAi };
        let world = World::new(&[("a", api)], move |_| Ok(support::json(body.clone()))).with_budget(1_000_000);
        let request = json!({"model": "small", "messages": [], "input": "x", "max_tokens": 9});
        let said = run(world.ask(post(PATHS[path], request)));
        prop_assert!(said.json().is_object());
        prop_assert_eq!(world.book.page().held, 0);
    }

    #[test]
    fn any_stream_ends_well(
        events in prop::collection::vec(value(), 0..12),
        noise: Vec<u8>,
        cut in any::<prop::sample::Index>(),
        path in 0_usize..3,
        anthropic: bool,
        guarded: bool,
    ) {
        let api = if anthropic { LlmApi::Anthropic } else { LlmApi::OpenAi };
        let first = match (anthropic, path) {
            (true, _) => json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}}),
            (false, 1) => json!({"type": "response.output_text.delta", "delta": "x"}),
            (false, _) => json!({"choices": [{"index": 0, "delta": {"content": "x"}}]}),
        };
        let mut text = support::sse_text(&[first]).into_bytes();
        text.extend_from_slice(support::sse_text(&events).as_bytes());
        text.extend_from_slice(&noise);
        let at = cut.index(text.len());
        let mut world = World::new(&[("a", api)], move |_| {
            let (one, two) = text.split_at(at);
            Ok(support::sse_bytes(vec![Ok(one.to_vec().into()), Ok(two.to_vec().into())]))
        })
        .with_budget(1_000_000);
        if guarded {
            world.watches = Some(support::Masker::watches());
        }
        let request = json!({"model": "small", "messages": [], "input": "x", "max_tokens": 9, "stream": true});
        let said = run(world.ask(post(PATHS[path], request)));
        if said.headers["content-type"] != "application/json" {
            // Whole events, each readable.
            prop_assert!(said.body.ends_with("\n\n"), "{}", said.body);
            for block in said.body.split_inclusive("\n\n") {
                prop_assert!(Event::parse(block.as_bytes()).is_ok());
            }
        }
        prop_assert_eq!(world.book.page().held, 0);
    }
}
