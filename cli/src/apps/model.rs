//! A mock of a model server: speaks OpenAI's chat completions, whole and streamed, and says that it is a mock.
//!
//! One word of its answer is one token. It answers with as many words as the prompt's first number asks for, and
//! never with more than `max_tokens`. Every answer that it gives is one line on its standard output, with what it
//! took; a key that is not its own is refused.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use transport::Address;

use super::http::{Answer, answer, serve};

/// How many words it says when nobody asks for a number.
const WORDS: u64 = 12;
/// The most words that it says.
const WORDS_MAX: u64 = 4096;
/// How long it takes from word to word in a stream.
const WORD_EVERY: Duration = Duration::from_millis(5);
/// How an answer begins.
const BEGINNING: [&str; 8] = ["This", "is", "a", "mock", "and", "not", "a", "model:"];

/// Serves until it is stopped.
pub(crate) async fn run(at: &Address, name: String, key_file: &Path) -> std::io::Result<()> {
    let key = std::fs::read_to_string(key_file)?;
    let (name, key): (Arc<str>, Arc<str>) = (name.into(), key.trim().into());
    serve(at, move |request| {
        let answer = respond(&request, &name, &key);
        async move { answer }
    })
    .await
}

fn respond(request: &Request<Bytes>, name: &Arc<str>, key: &str) -> Answer {
    if !holds(request.headers(), key) {
        served(&json!({ "model_server": **name, "refused": "wrong key" }));
        return error(StatusCode::UNAUTHORIZED, "this key is not known here");
    }
    if request.method() != http::Method::POST || request.uri().path() != "/v1/chat/completions" {
        return error(StatusCode::NOT_FOUND, "there is only POST /v1/chat/completions");
    }
    let Ok(asked) = serde_json::from_slice::<Value>(request.body()) else {
        return error(StatusCode::BAD_REQUEST, "this is not JSON");
    };
    let text = prompt(&asked);
    let wanted = text.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(WORDS);
    let most = ["max_completion_tokens", "max_tokens"].iter().find_map(|field| asked[*field].as_u64());
    let reply = Reply {
        server: name.clone(),
        model: asked["model"].as_str().unwrap_or("none").into(),
        prompt: text.split_whitespace().count() as u64,
        words: wanted.min(most.unwrap_or(WORDS_MAX)).min(WORDS_MAX),
        cut: most.is_some_and(|most| wanted > most),
    };
    if asked["stream"] == true {
        return reply.streamed(asked["stream_options"]["include_usage"] == true);
    }
    let words: Vec<&str> = (0..reply.words).map(word).collect();
    reply.note(reply.words, false);
    let message = json!({ "role": "assistant", "content": words.join(" ") });
    let body = json!({
        "id": "chatcmpl-mock", "object": "chat.completion", "created": 0, "model": *reply.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": reply.finish() }],
        "usage": reply.usage(),
    });
    answer(StatusCode::OK, "application/json", body.to_string())
}

/// What it says to one request.
struct Reply {
    server: Arc<str>,
    model: Arc<str>,
    prompt: u64,
    words: u64,
    cut: bool,
}

impl Reply {
    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.words,
            "total_tokens": self.prompt + self.words,
        })
    }

    fn finish(&self) -> &'static str {
        if self.cut { "length" } else { "stop" }
    }

    fn note(&self, said: u64, streamed: bool) {
        served(&json!({
            "model_server": *self.server, "model": *self.model, "streamed": streamed,
            "prompt_tokens": self.prompt, "completion_tokens": said, "tokens": self.prompt + said,
        }));
    }

    fn chunk(&self, choices: Value, usage: Option<Value>) -> Value {
        let mut chunk = json!({
            "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 0, "model": *self.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        chunk
    }

    /// Word by word. What was said is noted at the end, also when the caller leaves before it.
    fn streamed(self, with_usage: bool) -> Answer {
        let words = self.words;
        let state = Streaming { reply: self, said: 0 };
        let events = stream::unfold((state, 0), move |(mut state, at): (Streaming, u64)| async move {
            let data = if at < words {
                tokio::time::sleep(WORD_EVERY).await;
                state.said += 1;
                let space = if at == 0 { "" } else { " " };
                let delta = json!({ "role": "assistant", "content": format!("{space}{}", word(at)) });
                state
                    .reply
                    .chunk(json!([{ "index": 0, "delta": delta, "finish_reason": null }]), None)
                    .to_string()
            } else {
                let end = json!([{ "index": 0, "delta": {}, "finish_reason": state.reply.finish() }]);
                match at - words {
                    0 => state.reply.chunk(end, None).to_string(),
                    1 if with_usage => state.reply.chunk(json!([]), Some(state.reply.usage())).to_string(),
                    1 | 2 => "[DONE]".to_owned(),
                    _ => return None,
                }
            };
            let next = if data == "[DONE]" { u64::MAX } else { at + 1 };
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(format!("data: {data}\n\n")))), (state, next)))
        });
        let mut response = Response::new(BodyExt::boxed(StreamBody::new(events)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response
    }
}

/// A stream under way.
struct Streaming {
    reply: Reply,
    said: u64,
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.reply.note(self.said, true);
    }
}

fn word(at: u64) -> &'static str {
    usize::try_from(at).ok().and_then(|at| BEGINNING.get(at)).copied().unwrap_or("word")
}

fn prompt(asked: &Value) -> String {
    let messages = asked["messages"].as_array().into_iter().flatten();
    let texts: Vec<&str> = messages.filter_map(|message| message["content"].as_str()).collect();
    texts.join(" ")
}

fn holds(headers: &HeaderMap, key: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    given.and_then(|given| given.strip_prefix("Bearer ")) == Some(key)
}

/// Says what was served, on standard output.
fn served(what: &Value) {
    println!("{what}");
}

fn error(status: StatusCode, why: &str) -> Answer {
    let body = json!({ "error": { "message": why, "type": "mock_error", "code": status.as_u16() } });
    answer(status, "application/json", body.to_string())
}
