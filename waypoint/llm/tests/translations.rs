//! Tables of translations: requests, answers and streams, each way; and what has no form on the other side.
#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use http::StatusCode;
use mesh::resource::LlmApi;
use serde_json::{Value, json};
use support::{World, json as answer, post, sse};

const OPENAI: LlmApi = LlmApi::OpenAi;
const ANTHROPIC: LlmApi = LlmApi::Anthropic;

/// What a provider of this API is sent.
async fn sent(api: LlmApi, path: &str, mut body: Value) -> Result<Value, Value> {
    let world = World::new(&[("a", api)], |_| Ok(answer(json!({}))));
    body["model"] = json!("small");
    let said = world.ask(post(path, body)).await;
    match world.reached().first() {
        Some(reached) => Ok(reached.body.clone()),
        None => Err(said.json()["error"].clone()),
    }
}

fn weather() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}}})
}

#[tokio::test]
async fn chat_becomes_messages() {
    let request = json!({
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "very"}]},
            {"role": "user", "content": [
                {"type": "text", "text": "what is this"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}},
                {"id": "t2", "type": "function", "function": {"name": "weather", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": "sun"},
            {"role": "tool", "tool_call_id": "t2", "content": [{"type": "text", "text": "rain"}]},
            {"role": "user", "content": "and?"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "description": "tells", "parameters": weather(), "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": false,
        "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": "END", "user": "u1", "n": 1, "store": true,
    });
    let expected = json!({
        "model": "a-small", "max_tokens": 9,
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "what is this"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
                {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sun"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "rain"}]},
            ]},
            {"role": "user", "content": [{"type": "text", "text": "and?"}]},
        ],
        "system": [{"type": "text", "text": "be brief"}, {"type": "text", "text": "very"}],
        "tools": [{"name": "weather", "description": "tells", "input_schema": weather(), "strict": true}],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": true},
        "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["END"], "metadata": {"user_id": "u1"},
    });
    assert_eq!(sent(ANTHROPIC, "/v1/chat/completions", request).await.unwrap(), expected);
}

#[tokio::test]
async fn messages_become_chat() {
    let request = json!({
        "max_tokens": 9, "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "no sun", "is_error": true},
                {"type": "text", "text": "and?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}},
            ]},
        ],
        "tools": [{"name": "weather", "input_schema": weather()}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "stop_sequences": ["END"], "metadata": {"user_id": "u1"}, "thinking": {"type": "disabled"},
    });
    let expected = json!({
        "model": "a-small",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "I look", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}},
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": "Error: no sun"},
            {"role": "user", "content": [
                {"type": "text", "text": "and?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            ]},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": weather()}}],
        "tool_choice": "required", "parallel_tool_calls": false, "max_tokens": 9, "stop": ["END"], "user": "u1",
    });
    assert_eq!(sent(OPENAI, "/v1/messages", request).await.unwrap(), expected);
}

#[tokio::test]
async fn responses_become_messages_and_pass_to_their_own() {
    let request = json!({
        "instructions": "be brief", "max_output_tokens": 9,
        "input": [
            {"role": "user", "content": "hello"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look"}]},
            {"type": "function_call", "call_id": "t1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "t1", "output": "sun"},
            {"role": "user", "content": [{"type": "input_text", "text": "and?"}]},
        ],
        "tools": [{"type": "function", "name": "weather", "parameters": weather()}], "tool_choice": "auto",
        "text": {"format": {"type": "text"}}, "reasoning": {"effort": null},
    });
    let expected = json!({
        "model": "a-small", "max_tokens": 9,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "I look"}, {"type": "tool_use", "id": "t1", "name": "weather", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "sun"}]},
            ]},
            {"role": "user", "content": [{"type": "text", "text": "and?"}]},
        ],
        "system": [{"type": "text", "text": "be brief"}],
        "tools": [{"name": "weather", "input_schema": weather()}], "tool_choice": {"type": "auto"},
    });
    assert_eq!(sent(ANTHROPIC, "/v1/responses", request.clone()).await.unwrap(), expected);
    let mut same = request.clone();
    same["model"] = json!("a-small");
    assert_eq!(sent(OPENAI, "/v1/responses", request).await.unwrap(), same);
}

#[tokio::test]
async fn what_has_no_form_is_refused_by_its_field() {
    let chat = "/v1/chat/completions";
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let with = |field: &str, value: Value| {
        let mut body = user(json!("x"));
        body["max_tokens"] = json!(9);
        body[field] = value;
        body
    };
    for (api, path, body, field) in [
        (ANTHROPIC, chat, with("n", json!(2)), "n"),
        (ANTHROPIC, chat, with("logprobs", json!(true)), "logprobs"),
        (ANTHROPIC, chat, with("seed", json!(7)), "seed"),
        (ANTHROPIC, chat, with("reasoning_effort", json!("high")), "reasoning_effort"),
        (ANTHROPIC, chat, with("response_format", json!({"type": "json_object"})), "response_format"),
        (ANTHROPIC, chat, with("unknown", json!({})), "unknown"),
        (ANTHROPIC, chat, with("temperature", json!(1.5)), "temperature"),
        (ANTHROPIC, chat, with("tools", json!([{"type": "custom"}])), "tools[0]"),
        (ANTHROPIC, chat, with("tool_choice", json!("odd")), "tool_choice"),
        (ANTHROPIC, chat, user(json!([{"type": "input_audio"}])), "messages[0].content[0]"),
        (ANTHROPIC, chat, user(json!(7)), "messages[0].content"),
        (
            ANTHROPIC,
            chat,
            json!({"messages": [{"role": "user", "content": "x", "name": "n"}]}),
            "messages[0].name",
        ),
        (ANTHROPIC, chat, json!({"messages": [{"role": "function", "content": "x"}]}), "messages[0].role"),
        (
            ANTHROPIC,
            chat,
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "late"}]}),
            "messages[1].role",
        ),
        (
            ANTHROPIC,
            chat,
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "[1]"}}]}]}),
            "messages[0].tool_calls[0]",
        ),
        (OPENAI, "/v1/messages", with("top_k", json!(5)), "top_k"),
        (
            OPENAI,
            "/v1/messages",
            with("thinking", json!({"type": "enabled", "budget_tokens": 5})),
            "thinking",
        ),
        (
            OPENAI,
            "/v1/messages",
            with("tools", json!([{"type": "bash_20250124", "name": "bash"}])),
            "tools[0]",
        ),
        (OPENAI, "/v1/messages", user(json!([{"type": "document"}])), "messages[0].content[0]"),
        (
            OPENAI,
            "/v1/messages",
            user(json!([{"type": "image", "source": {"type": "file"}}])),
            "messages[0].content[0]",
        ),
        (
            ANTHROPIC,
            "/v1/responses",
            json!({"input": "x", "previous_response_id": "r"}),
            "previous_response_id",
        ),
        (ANTHROPIC, "/v1/responses", json!({"input": [{"type": "reasoning"}]}), "input[0].type"),
        (ANTHROPIC, "/v1/responses", json!({"input": "x", "tools": [{"type": "web_search"}]}), "tools[0]"),
        (ANTHROPIC, "/v1/embeddings", json!({"input": "x"}), "embeddings"),
    ] {
        let error = sent(api, path, body.clone()).await.expect_err(field);
        assert_eq!(
            (&error["param"], &error["reason"]),
            (
                &json!(if path == "/v1/messages" { Value::Null } else { json!(field) }),
                &json!("NotTranslatable")
            ),
            "{body}"
        );
        assert!(error["message"].as_str().unwrap().starts_with(field), "{error}");
    }
}

#[tokio::test]
async fn whole_answers_are_translated() {
    let messages = json!({
        "id": "m1", "type": "message", "model": "real", "role": "assistant", "stop_reason": "tool_use",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "I look"},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Bern"}},
        ],
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 3},
    });
    let said = {
        let messages = messages.clone();
        World::new(&[("a", ANTHROPIC)], move |_| Ok(answer(messages.clone())))
    };
    let chat = said.ask(post("/v1/chat/completions", json!({"model": "small", "messages": []}))).await.json();
    assert_eq!(chat["object"], "chat.completion");
    assert_eq!(chat["choices"][0]["finish_reason"], "tool_calls");
    let message = &chat["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("I look"), &json!("hm")));
    assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Bern\"}");
    assert_eq!(chat["usage"]["prompt_tokens"], 8);
    assert_eq!(chat["usage"]["total_tokens"], 11);
    let responses = said.ask(post("/v1/responses", json!({"model": "small", "input": "x"}))).await.json();
    assert_eq!((&responses["object"], &responses["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(responses["output"][0]["content"][0]["text"], "I look");
    assert_eq!(
        (&responses["output"][1]["type"], &responses["output"][1]["call_id"]),
        (&json!("function_call"), &json!("t1"))
    );
    assert_eq!(responses["usage"]["input_tokens"], 8);

    let completion = |message: Value, reason: &str| {
        json!({"id": "c1", "model": "real", "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}})
    };
    for (message, reason, stop, content) in [
        (json!({"content": "hi"}), "stop", "end_turn", json!([{"type": "text", "text": "hi"}])),
        (json!({"content": "hi"}), "length", "max_tokens", json!([{"type": "text", "text": "hi"}])),
        (
            json!({"content": null, "refusal": "no"}),
            "content_filter",
            "refusal",
            json!([{"type": "text", "text": "no"}]),
        ),
        (
            json!({"content": null, "tool_calls": [{"id": "t1", "function": {"name": "f", "arguments": "{\"a\":1}"}}]}),
            "tool_calls",
            "tool_use",
            json!([{"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]),
        ),
    ] {
        let whole = completion(message, reason);
        let world = World::new(&[("a", OPENAI)], move |_| Ok(answer(whole.clone())));
        let body = json!({"model": "small", "max_tokens": 9, "messages": []});
        let said = world.ask(post("/v1/messages", body)).await.json();
        assert_eq!((&said["stop_reason"], &said["content"]), (&json!(stop), &content));
        assert_eq!(said["usage"]["input_tokens"], 5);
        assert_eq!(said["usage"]["cache_read_input_tokens"], 2);
    }
    // Arguments that are no object cannot be said there; nobody gets half an answer.
    let broken = completion(
        json!({"tool_calls": [{"id": "t", "function": {"name": "f", "arguments": "oops"}}]}),
        "tool_calls",
    );
    let world = World::new(&[("a", OPENAI)], move |_| Ok(answer(broken.clone())));
    let body = json!({"model": "small", "max_tokens": 9, "messages": []});
    assert_eq!(world.ask(post("/v1/messages", body)).await.status, StatusCode::BAD_GATEWAY);
}

fn anthropic_stream() -> Vec<Value> {
    vec![
        json!({"type": "message_start", "message": {"id": "m1", "model": "real", "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I "}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{\"a\""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ":1}"}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]
}

#[tokio::test]
async fn streams_of_messages_become_chat_and_responses() {
    let world = World::new(&[("a", ANTHROPIC)], |_| Ok(sse(&anthropic_stream())));
    let body =
        json!({"model": "small", "stream": true, "stream_options": {"include_usage": true}, "messages": []});
    let events = world.ask(post("/v1/chat/completions", body)).await.events();
    let deltas: Vec<&Value> = events.iter().filter_map(|event| event.pointer("/choices/0/delta")).collect();
    assert_eq!(
        deltas,
        [
            &json!({"role": "assistant", "content": ""}),
            &json!({"content": "I "}),
            &json!({"content": "look"}),
            &json!({"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
            &json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\""}}]}),
            &json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            &json!({}),
        ]
    );
    assert_eq!(events[6]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(events[7]["usage"]["total_tokens"], 10);
    assert_eq!(events[8], json!("[DONE]"));
    assert!(events[..8].iter().all(|event| event["id"] == "m1" && event["model"] == "real"));

    let events = world
        .ask(post("/v1/responses", json!({"model": "small", "stream": true, "input": "x"})))
        .await
        .events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    let last = &events[14]["response"];
    assert_eq!(last["output"][0]["content"][0]["text"], "I look");
    assert_eq!(last["output"][1]["arguments"], "{\"a\":1}");
    assert_eq!(last["usage"]["total_tokens"], 10);
}

#[tokio::test]
async fn streams_of_chat_become_messages() {
    let chunk = |delta: Value, reason: Option<&str>| json!({"id": "c1", "model": "real", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
    let stream = vec![
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"content": "I look"}), None),
        chunk(
            json!({"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "f", "arguments": ""}}]}),
            None,
        ),
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}), None),
        chunk(json!({}), Some("tool_calls")),
        json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
        json!("[DONE]"),
    ];
    let world = World::new(&[("a", OPENAI)], move |_| Ok(sse(&stream)));
    let body = json!({"model": "small", "max_tokens": 9, "stream": true, "messages": []});
    let said = world.ask(post("/v1/messages", body)).await;
    let events = said.events();
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    assert!(said.body.starts_with("event: message_start\n"));
    assert_eq!(events[4]["content_block"], json!({"type": "tool_use", "id": "t1", "name": "f", "input": {}}));
    assert_eq!(events[7]["delta"]["stop_reason"], "tool_use");
    assert_eq!(
        (&events[7]["usage"]["input_tokens"], &events[7]["usage"]["output_tokens"]),
        (&json!(7), &json!(3))
    );
}
