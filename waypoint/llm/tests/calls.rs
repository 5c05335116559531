//! Calls of models: pass-through, translation, failover, authorization, keys and lists.
#![allow(clippy::unwrap_used, clippy::result_large_err, clippy::type_complexity, reason = "a test")]

mod support;

use std::sync::Arc;

use exchange::CallError;
use http::StatusCode;
use mesh::{
    Denial, Reason,
    resource::{Authorizer, AuthorizerProtocol, BackendTarget, LlmApi, Millis},
};
use serde_json::{Value, json};
use support::{World, json as answer, post, sse, status};

const OPENAI: LlmApi = LlmApi::OpenAi;
const ANTHROPIC: LlmApi = LlmApi::Anthropic;

fn chat(body: Value) -> exchange::Request {
    post("/v1/chat/completions", body)
}

fn hello() -> exchange::Request {
    chat(json!({"model": "small", "messages": [{"role": "user", "content": "hello"}]}))
}

fn streamed() -> exchange::Request {
    chat(json!({"model": "small", "stream": true, "messages": [{"role": "user", "content": "hello"}]}))
}

fn completion(text: &str) -> Value {
    json!({
        "id": "c1", "object": "chat.completion", "created": 1, "model": "real", "strange": {"kept": true},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    })
}

fn chunk(delta: Value, reason: Option<&str>) -> Value {
    json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "real", "strange": 1, "usage": null,
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    })
}

fn usage_chunk() -> Value {
    json!({
        "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "real", "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    })
}

fn chunks(texts: &[&str]) -> Vec<Value> {
    let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
    events.extend(texts.iter().map(|text| chunk(json!({"content": text}), None)));
    events.extend([chunk(json!({}), Some("stop")), usage_chunk(), json!("[DONE]")]);
    events
}

fn message(text: &str) -> Value {
    json!({
        "id": "m1", "type": "message", "role": "assistant", "model": "real",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    })
}

fn text_of(answer: &support::Answer) -> String {
    let text = |event: &Value| {
        let chat = event.pointer("/choices/0/delta/content");
        let messages = event.pointer("/delta/text");
        let responses = event.get("delta").filter(|it| it.is_string());
        chat.or(messages).or(responses).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    answer.events().iter().map(text).collect()
}

#[tokio::test]
async fn the_same_protocol_passes_with_few_edits() {
    let world = World::new(&[("a", OPENAI)], |_| Ok(answer(completion("hi"))));
    let said = world
        .ask(chat(json!({
            "model": "small", "messages": [{"role": "user", "content": "hello", "odd": 1}], "unknown": {"field": [1.5]},
        })))
        .await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.json(), completion("hi"));
    let reached = &world.reached()[0];
    assert_eq!(reached.path, "/v1/chat/completions");
    assert_eq!(reached.body["model"], "a-small");
    assert_eq!(reached.body["unknown"], json!({"field": [1.5]}));
    assert_eq!(reached.body["messages"][0]["odd"], 1);
    // No quota applies, so nothing is limited.
    assert_eq!(reached.body.get("max_tokens"), None);
    let used = world.trail.record().model.unwrap();
    assert_eq!((used.tokens_in, used.tokens_out, used.told), (7, 3, true));
    assert_eq!((&*used.provider, &*used.asked, &*used.model), ("a", "small", "a-small"));
}

#[tokio::test]
async fn attack_keys_are_ours_and_never_the_callers() {
    let world = World::new(&[("a", OPENAI)], |_| Ok(answer(completion("hi"))));
    world.ask(hello()).await;
    let world2 = World::new(&[("b", ANTHROPIC)], |_| Ok(answer(message("hi"))));
    world2.ask(hello()).await;
    let (openai, anthropic) = (&world.reached()[0].headers, &world2.reached()[0].headers);
    assert_eq!(openai["authorization"], format!("Bearer {}", support::CANARY));
    assert_eq!(openai.get("x-api-key"), None);
    assert_eq!(anthropic["x-api-key"], support::CANARY);
    assert_eq!(anthropic.get("authorization"), None);
    assert_eq!(anthropic["anthropic-version"], "2023-06-01");
    for headers in [openai, anthropic] {
        assert_eq!(headers.get("cookie"), None);
        assert!(!format!("{headers:?}").contains("of-the-caller"));
        // Nor is it shown by what shows headers.
        assert!(!format!("{headers:?}").contains(support::CANARY));
    }
}

// Attack class: key leakage.
#[tokio::test]
async fn attack_key_leakage_the_canary_key_is_nowhere_but_at_its_provider() {
    let echo = support::CANARY;
    let said: Vec<Box<dyn Fn() -> Result<exchange::Response, CallError> + Send + Sync>> = vec![
        Box::new(move || Ok(answer(completion(&format!("your key is {echo}"))))),
        Box::new(move || Ok(status(400, json!({"error": {"message": format!("bad {echo}"), "code": echo}})))),
        Box::new(move || {
            Ok(status(401, json!({"error": {"message": format!("Incorrect API key: {echo}")}})))
        }),
        Box::new(move || Ok(status(404, json!({"error": {"message": format!("not for {echo}")}})))),
        Box::new(move || Ok(status(500, json!(format!("crashed with {echo}"))))),
        Box::new(move || Ok(answer(json!(format!("not an answer {echo}"))))),
    ];
    for serve in said {
        let world = World::new(&[("a", OPENAI)], move |_| serve());
        // `ask` looks for the canary in the answer, the trail and the refusals.
        world.ask(hello()).await;
    }
    let streams = vec![
        vec![
            chunk(json!({"content": format!("key {echo}")}), None),
            json!({"error": {"message": echo, "type": echo}}),
        ],
        vec![json!({"error": {"message": format!("key {echo}"), "type": echo}})],
    ];
    for events in streams {
        World::new(&[("a", OPENAI)], move |_| Ok(sse(&events))).ask(streamed()).await;
    }
}

#[tokio::test]
async fn a_stream_passes_and_usage_is_told_to_who_asked() {
    for (options, tells) in [
        (json!(null), false),
        (json!({"include_usage": false}), false),
        (json!({"include_usage": true, "include_obfuscation": false}), true),
        (json!("nonsense"), false),
    ] {
        let world = World::new(&[("a", OPENAI)], |_| Ok(sse(&chunks(&["he", "llo"]))));
        let request = json!({
            "model": "small", "stream": true, "stream_options": options,
            "messages": [{"role": "user", "content": "hello"}],
        });
        let said = world.ask(chat(request)).await;
        assert_eq!(text_of(&said), "hello");
        let events = said.events();
        assert_eq!(events.last(), Some(&json!("[DONE]")));
        assert_eq!(events.iter().any(|event| event.get("usage").is_some_and(|it| !it.is_null())), tells);
        assert_eq!(events.iter().any(|event| event.get("usage").is_some()), tells);
        assert!(events.iter().take(3).all(|event| event["strange"] == 1));
        // The provider is always asked.
        assert_eq!(world.reached()[0].body["stream_options"]["include_usage"], true);
        let used = world.trail.record().model.unwrap();
        assert_eq!((used.tokens_in, used.tokens_out, used.told), (7, 3, true));
        assert!(used.first_token.is_some());
    }
}

#[tokio::test]
async fn failover_before_the_first_token_and_none_after() {
    // Every way to fail before anything came: the second answers.
    let fails: Vec<(&str, fn() -> Result<exchange::Response, CallError>)> = vec![
        ("unavailable", || Err(CallError::Unavailable(Denial::plain(Reason::NoEndpoint, "")))),
        ("unresolved", || Err(CallError::Unresolved("".into()))),
        ("timeout", || Err(CallError::TimedOut(std::time::Duration::from_secs(1)))),
        ("bad answer", || Err(CallError::BadAnswer("".into()))),
        ("500", || Ok(status(500, json!({})))),
        ("503", || Ok(status(503, json!({})))),
        ("429", || Ok(status(429, json!({})))),
        ("401", || Ok(status(401, json!({})))),
        ("redirect", || Ok(status(302, json!({})))),
        ("html", || {
            Ok(http::Response::builder()
                .header("content-type", "text/html")
                .body(exchange::Body::held_bytes("<html>"))
                .unwrap())
        }),
        ("html that says it is json", || {
            Ok(http::Response::builder()
                .header("content-type", "application/json")
                .body(exchange::Body::held_bytes("<html>"))
                .unwrap())
        }),
        ("html that says it is a stream", || Ok(support::sse_bytes(vec![Ok("<html></html>".into())]))),
        ("an error with 200", || Ok(answer(json!({"error": {"message": "no"}})))),
        ("an error as the first event", || Ok(sse(&[json!({"error": {"message": "no"}})]))),
        ("a stream of nothing", || Ok(sse(&[]))),
        ("a stream that only ends", || Ok(sse(&[json!("[DONE]")]))),
        ("a stream that only begins", || {
            Ok(sse(&[chunk(json!({"role": "assistant", "content": ""}), None)]))
        }),
        ("a stream that is cut", || {
            Ok(support::sse_bytes(vec![Err(exchange::BodyError::Cut("gone".into()))]))
        }),
        ("not utf-8", || Ok(support::sse_bytes(vec![Ok(bytes::Bytes::from_static(b"data: \xff\n\n"))]))),
    ];
    for (what, fail) in fails {
        for stream in [false, true] {
            let good = move || if stream { sse(&chunks(&["good"])) } else { answer(completion("good")) };
            let world = World::new(&[("a", OPENAI), ("b", OPENAI)], move |reached| {
                if reached.provider == "a" { fail() } else { Ok(good()) }
            });
            let said = world.ask(if stream { streamed() } else { hello() }).await;
            assert_eq!(said.status, StatusCode::OK, "{what}: {said:?}");
            assert!(said.body.contains("good"), "{what}: {said:?}");
            assert_eq!(world.order(), ["a", "b"], "{what}");
            // And it is avoided for a while.
            world.ask(if stream { streamed() } else { hello() }).await;
            assert_eq!(world.order(), ["a", "b", "b"], "{what}");
        }
    }
    // After the first token it is too late.
    let world = World::new(&[("a", OPENAI), ("b", OPENAI)], |_| {
        let first = support::sse_text(&[chunk(json!({"content": "half"}), None)]);
        Ok(support::sse_bytes(vec![Ok(first.into()), Err(exchange::BodyError::Cut("gone".into()))]))
    });
    let said = world.ask(streamed()).await;
    assert_eq!(world.order(), ["a"]);
    assert_eq!(text_of(&said), "half");
    assert_eq!(said.events().last().unwrap()["error"]["message"], "The provider broke off");
}

#[tokio::test]
async fn errors_of_the_request_are_not_tried_elsewhere() {
    for code in [400, 413, 422] {
        let world = World::new(&[("a", OPENAI), ("b", OPENAI)], move |_| {
            Ok(status(code, json!({"error": {"message": "too odd", "code": "odd", "param": "x"}})))
        });
        let said = world.ask(hello()).await;
        assert_eq!(said.status.as_u16(), code);
        assert_eq!(world.order(), ["a"]);
        assert_eq!(said.json()["error"]["message"], "too odd");
        assert_eq!(said.json()["error"]["param"], "x");
    }
}

#[tokio::test]
async fn when_nobody_answers_it_is_said_in_the_shape_of_the_api() {
    let dead = || World::new(&[("a", OPENAI), ("b", ANTHROPIC)], |_| Ok(status(500, json!({}))));
    let said = dead().ask(hello()).await;
    assert_eq!(said.status, StatusCode::BAD_GATEWAY);
    assert_eq!(said.json()["error"]["type"], "server_error");
    assert_eq!(said.json()["error"]["code"], "ProviderFailed");
    assert!(said.headers["x-strait-denied"].to_str().unwrap().contains("reason=ProviderFailed"));
    let body = json!({"model": "small", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]});
    let said = dead().ask(post("/v1/messages", body)).await;
    assert_eq!(
        (said.json()["type"].as_str(), said.json()["error"]["type"].as_str()),
        (Some("error"), Some("api_error"))
    );
    // All busy: so are we.
    let world = World::new(&[("a", OPENAI)], |_| {
        let mut response = status(429, json!({}));
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("17"));
        Ok(response)
    });
    let said = world.ask(hello()).await;
    assert_eq!((said.status.as_u16(), said.headers["retry-after"].to_str().unwrap()), (429, "17"));
}

#[tokio::test]
async fn the_model_that_is_really_used_is_judged() {
    let world = || World::new(&[("a", OPENAI), ("b", OPENAI)], |_| Ok(answer(completion("hi"))));
    // Not granted candidates are skipped.
    let one = world();
    one.grants.set(&["b/b-small"]);
    assert_eq!(one.ask(hello()).await.status, StatusCode::OK);
    assert_eq!(one.order(), ["b"]);
    // The alias itself grants nothing.
    let none = world();
    none.grants.set(&["a/small", "b/small", "a/a-large"]);
    let said = none.ask(hello()).await;
    assert_eq!(said.status, StatusCode::FORBIDDEN);
    assert_eq!(said.json()["error"]["reason"], "NoGrant");
    assert_eq!(said.json()["error"]["id"], "r1");
    assert!(!said.body.contains("wanted one of"), "what is permitted is not told");
    assert!(none.order().is_empty());
    // Nothing granted at all: the filter refuses, in the same shape.
    let nothing = world();
    nothing.grants.set(&[]);
    assert_eq!(nothing.ask(hello()).await.json()["error"]["type"], "permission_error");
    // The one that is granted fails: the other is not asked.
    let failing = World::new(&[("a", OPENAI), ("b", OPENAI)], |_| Ok(status(500, json!({}))));
    failing.grants.set(&["a/a-small"]);
    failing.ask(hello()).await;
    assert_eq!(failing.order(), ["a"]);
}

#[tokio::test]
async fn attack_a_model_is_not_used_unasked() {
    let world = World::new(&[("a", OPENAI), ("b", OPENAI)], |_| Ok(answer(completion("hi"))));
    let authorizer = Arc::new(Authorizer {
        target: BackendTarget::Broken("nowhere".into()),
        protocol: AuthorizerProtocol::Grpc,
        timeout: Millis(1000),
        headers: Vec::new(),
        upstream_headers: Vec::new(),
        body_bytes: 0,
    });
    *world.grants.2.lock().unwrap() = Some(Arc::clone(&authorizer));
    let said = world.ask(hello()).await;
    assert_eq!(said.json()["error"]["reason"], "ExternalDenied", "{}", said.body);
    assert!(world.order().is_empty());
    assert_eq!(*world.providers.asked.lock().unwrap(), ["a/a-small", "b/b-small"]);
    // Its yes is for the model that it was asked about.
    world.providers.agreed.lock().unwrap().push("b/b-small".to_owned());
    assert_eq!(world.ask(hello()).await.status, StatusCode::OK);
    assert_eq!(world.order(), ["b"]);
}

#[tokio::test]
async fn lists_name_what_is_callable_and_nothing_else() {
    let world = World::new(&[("a", OPENAI), ("b", ANTHROPIC)], |_| Ok(answer(completion("hi"))));
    world.grants.set(&["b/b-large"]);
    let list = |path: &str, anthropic: bool| {
        let mut request = http::Request::get(path).body(exchange::Body::empty()).unwrap();
        if anthropic {
            request.headers_mut().insert("anthropic-version", http::HeaderValue::from_static("2023-06-01"));
        }
        request
    };
    let said = world.ask(list("/v1/models", false)).await.json();
    assert_eq!(said["object"], "list");
    assert_eq!(said["data"].as_array().unwrap().len(), 1);
    assert_eq!(said["data"][0]["id"], "large");
    let said = world.ask(list("/v1/models", true)).await.json();
    assert_eq!((&said["data"][0]["type"], &said["has_more"]), (&json!("model"), &json!(false)));
    assert_eq!(world.ask(list("/v1/models/large", false)).await.json()["id"], "large");
    assert_eq!(world.ask(list("/v1/models/small", false)).await.status, StatusCode::NOT_FOUND);
    assert!(world.order().is_empty());
}

#[tokio::test]
async fn a_provider_with_any_model_says_its_own_list_and_it_is_filtered() {
    let mut world = World::new(&[("a", OPENAI)], |reached| {
        assert_eq!(reached.path, "/v1/models");
        Ok(answer(json!({"object": "list", "data": [{"id": "one"}, {"id": "two"}, {"odd": 1}]})))
    });
    world.groups[0].providers[0].models.clear();
    world.grants.set(&["a/two"]);
    let request = http::Request::get("/v1/models").body(exchange::Body::empty()).unwrap();
    let said = world.ask(request).await.json();
    assert_eq!(said["data"], json!([{"id": "two", "object": "model", "created": 0, "owned_by": "a"}]));
}

#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let world = World::new(&[("a", OPENAI)], |_| Ok(answer(completion("hi"))));
    let messages = json!([{"role": "user", "content": "x"}]);
    for (request, expected) in [
        (post("/v1/audio/speech", json!({})), 403),
        (post("/v1/chat/completions", json!([])), 403),
        (post("/v1/chat/completions", json!({"messages": []})), 403),
        (post("/v1/chat/completions", json!({"model": "", "messages": []})), 403),
        (post("/v1/chat/completions", json!({"model": "small", "stream": "yes"})), 403),
        (post("/v1/chat/completions", json!({"model": "small", "max_tokens": "100"})), 403),
        (post("/v1/chat/completions", json!({"model": "small", "n": -1})), 403),
        (post("/v1/chat/completions", json!({"model": "other", "messages": messages})), 404),
        (post("/v1/messages/count_tokens", json!({"model": "small", "messages": messages})), 400),
    ] {
        let uri = request.uri().clone();
        let said = world.ask(request).await;
        // What cannot be read is missing to the judge, and a grant does not match it.
        assert_eq!(said.status.as_u16(), expected, "{uri} {said:?}");
        assert!(said.json()["error"]["message"].is_string());
    }
    assert!(world.order().is_empty());
}

#[tokio::test]
async fn a_new_denial_ends_a_stream_with_an_error_event() {
    let world = World::new(&[("a", OPENAI)], |_| {
        let first: bytes::Bytes = support::sse_text(&[chunk(json!({"content": "half"}), None)]).into();
        Ok(support::sse_bytes(std::iter::repeat_n(Ok(first), 100).collect()))
    });
    let response = world.respond(streamed()).await;
    world.grants.set(&["a/a-large"]);
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.ends_with("\n\n") && text.contains("permission_error") && text.contains("id r1"), "{text}");
    // Closed from outside: the same.
    let response = world_of_halves().await;
    let (world, response) = response;
    world.closing.close(Denial::plain(Reason::Revoked, "gone"));
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    assert!(String::from_utf8(body.to_vec()).unwrap().contains("Revoked"));
}

async fn world_of_halves() -> (World, exchange::Response) {
    let world = World::new(&[("a", OPENAI)], |_| {
        let first: bytes::Bytes = support::sse_text(&[chunk(json!({"content": "half"}), None)]).into();
        Ok(support::sse_bytes(std::iter::repeat_n(Ok(first), 100).collect()))
    });
    let response = world.respond(streamed()).await;
    (world, response)
}

// Attack classes: a server that never ends, 1 GB in one event.
#[tokio::test]
async fn a_gigabyte_in_one_event_and_an_endless_stream_are_cut() {
    let chunk_of = |bytes: &'static [u8]| bytes::Bytes::from_static(bytes);
    static MEGABYTE: [u8; 1 << 20] = [b'x'; 1 << 20];
    // Before the first token: the next provider answers.
    let world = World::new(&[("a", OPENAI), ("b", OPENAI)], move |reached| {
        if reached.provider == "b" {
            return Ok(sse(&chunks(&["good"])));
        }
        let mut all = vec![Ok(chunk_of(b"data: "))];
        all.extend(std::iter::repeat_n(Ok(chunk_of(&MEGABYTE)), 1024));
        Ok(support::sse_bytes(all))
    });
    assert_eq!(text_of(&world.ask(streamed()).await), "good");
    // After it: a well-formed end.
    let world = World::new(&[("a", OPENAI)], move |_| {
        let mut all = vec![Ok(support::sse_text(&[chunk(json!({"content": "half"}), None)]).into())];
        all.push(Ok(chunk_of(b"data: ")));
        all.extend(std::iter::repeat_n(Ok(chunk_of(&MEGABYTE)), 1024));
        Ok(support::sse_bytes(all))
    });
    let said = world.ask(streamed()).await;
    assert!(said.body.len() < 2048);
    assert!(said.events().last().unwrap().get("error").is_some());
    // Many small ones, without end.
    let world = World::new(&[("a", OPENAI)], move |_| {
        let long = "y".repeat(1 << 19);
        let one: bytes::Bytes = support::sse_text(&[chunk(json!({"content": long}), None)]).into();
        Ok(support::sse_bytes(std::iter::repeat_n(Ok(one), 10_000).collect()))
    });
    let said = world.ask(streamed()).await;
    assert!(said.body.len() < 80 << 20);
    assert!(said.events().last().unwrap().get("error").is_some());
}

#[tokio::test]
async fn a_guard_sees_text_that_is_split_over_events() {
    for split in 1..6 {
        let (one, two) = "secret".split_at(split);
        let texts = ["it is ".to_owned(), one.to_owned(), two.to_owned(), " é end".to_owned()];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let events = chunks(&texts);
        let mut world = World::new(&[("a", OPENAI)], move |_| Ok(sse(&events)));
        world.watches = Some(support::Masker::watches());
        let said = world.ask(streamed()).await;
        assert_eq!(text_of(&said), "it is ****** é end");
        assert_eq!(said.events().last(), Some(&json!("[DONE]")));
        // Translated, too.
        let events = messages_stream(&texts);
        let mut world = World::new(&[("a", ANTHROPIC)], move |_| Ok(sse(&events)));
        world.watches = Some(support::Masker::watches());
        assert_eq!(text_of(&world.ask(streamed()).await), "it is ****** é end");
        // And in the others' own protocols.
        let events = messages_stream(&texts);
        let mut world = World::new(&[("a", ANTHROPIC)], move |_| Ok(sse(&events)));
        world.watches = Some(support::Masker::watches());
        let body = json!({"model": "small", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]});
        let said = world.ask(post("/v1/messages", body)).await;
        assert_eq!(text_of(&said), "it is ****** é end");
        assert_eq!(said.events().last().unwrap()["type"], "message_stop");
        let events = responses_stream(&texts);
        let mut world = World::new(&[("a", OPENAI)], move |_| Ok(sse(&events)));
        world.watches = Some(support::Masker::watches());
        let said =
            world.ask(post("/v1/responses", json!({"model": "small", "stream": true, "input": "x"}))).await;
        assert_eq!(text_of(&said), "it is ****** é end");
        assert!(!said.body.contains("secret"), "{}", said.body);
    }
}

#[tokio::test]
async fn a_guard_that_refuses_ends_the_stream() {
    let events = chunks(&["so far so good, and then something for", "bidden"]);
    let mut world = World::new(&[("a", OPENAI)], move |_| {
        let chunk = |event: &Value| Ok(support::sse_text(std::slice::from_ref(event)).into());
        Ok(support::sse_bytes(events.iter().map(chunk).collect()))
    });
    world.watches = Some(support::Masker::watches());
    let said = world.ask(streamed()).await;
    assert!(!said.body.contains("bidden"), "{said:?}");
    assert!(said.events().last().unwrap()["error"]["message"].as_str().unwrap().contains("GuardRefused"));
}

fn messages_stream(texts: &[&str]) -> Vec<Value> {
    let start = json!({"id": "m1", "type": "message", "role": "assistant", "model": "real", "content": [],
        "stop_reason": null, "usage": {"input_tokens": 7, "output_tokens": 1}});
    let mut events = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
    ];
    events.extend(texts.iter().map(|text| {
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
    }));
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]);
    events
}

fn responses_stream(texts: &[&str]) -> Vec<Value> {
    let text: String = texts.concat();
    let part = json!({"type": "output_text", "text": text, "annotations": []});
    let item = json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [part]});
    let at = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let with = |kind: &str, more: Value| {
        let mut event = at.clone();
        event["type"] = json!(kind);
        more.as_object().unwrap().iter().for_each(|(key, value)| event[key] = value.clone());
        event
    };
    let mut events = vec![json!({"type": "response.created", "response": {"id": "r1", "model": "real"}})];
    events.extend(texts.iter().map(|text| with("response.output_text.delta", json!({"delta": text}))));
    events.push(with("response.output_text.done", json!({"text": text})));
    events.push(with("response.content_part.done", json!({"part": part})));
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    let usage = json!({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10});
    events.push(
        json!({"type": "response.completed", "response": {"id": "r1", "output": [item], "usage": usage}}),
    );
    events
}

#[tokio::test]
async fn a_stream_may_be_cut_anywhere_into_pieces() {
    let text = support::sse_text(&chunks(&["héllo ", "wörld \u{1f600}"]));
    let whole = World::new(&[("a", OPENAI)], {
        let text = text.clone();
        move |_| Ok(support::sse_bytes(vec![Ok(text.clone().into())]))
    });
    let expected = whole.ask(streamed()).await.body;
    for at in 0..text.len() {
        let bytes = text.clone().into_bytes();
        let world = World::new(&[("a", OPENAI)], move |_| {
            let (one, two) = bytes.split_at(at);
            Ok(support::sse_bytes(vec![Ok(one.to_vec().into()), Ok(two.to_vec().into())]))
        });
        assert_eq!(world.ask(streamed()).await.body, expected, "at {at}");
    }
}
