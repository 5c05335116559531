//! How many tokens a request can use: an estimate of its prompt, and the limit of its answer.
//!
//! The estimate counts every text of the request with OpenAI's newest vocabulary, with stated bounds for what is no
//! text. What cannot be counted before it is answered (what a provider keeps from earlier calls or fetches by itself)
//! is refused where a quota of tokens applies.

use mesh::resource::LlmApi;
use serde_json::Value;

use crate::{json::Object, operation::Operation};

/// Added to every request.
pub const REQUEST_OVERHEAD: u64 = 16;
/// Added for every message or item.
pub const MESSAGE_OVERHEAD: u64 = 8;
/// Added where tools are described: providers put instructions of their own before them.
pub const TOOLS_OVERHEAD: u64 = 640;
/// What one picture is counted at: more than any provider counts one of the largest size.
pub const IMAGE_TOKENS: u64 = 6_144;
/// The same for OpenAI's `4o-mini`, which counts pictures about 33 times as high.
pub const IMAGE_TOKENS_MINI: u64 = 48_256;
/// Sound is counted at one token for this many bytes of its base64: more than ten a second at 8 kbit/s.
pub const AUDIO_BYTES_PER_TOKEN: u64 = 64;
/// Other vocabularies than OpenAI's need up to this many percent of its count.
const OTHER_VOCABULARY_PERCENT: u64 = 130;
/// Most answers that one request may ask for.
pub const ANSWERS_MAX: u64 = 128;

/// What a request can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Of the prompt, without margin.
    pub input: u64,
    /// Most tokens of one answer, if the caller says it.
    pub output: Option<u64>,
    /// How many answers.
    pub answers: u64,
}

/// Why a request cannot be estimated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EstimateError {
    /// A field is not of its kind.
    #[error("{field} must be a whole number from 1 to {most}")]
    Bad {
        /// The field.
        field: &'static str,
        /// The greatest that is taken.
        most: u64,
    },
    /// What it leads to cannot be counted before.
    #[error("{field} cannot be counted before it is answered, and a quota of tokens applies")]
    Uncountable {
        /// The field.
        field: String,
    },
}

/// A limit beyond this is no limit of any provider.
pub const OUTPUT_MAX: u64 = 1 << 40;

/// The limits that a request sets itself, checked whether or not a quota applies.
///
/// # Errors
/// When one is no positive whole number.
pub fn limits(request: &Object) -> Result<(Option<u64>, u64), EstimateError> {
    let read = |field: &'static str, most: u64| match request.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(count) if (1..=most).contains(&count) => Ok(Some(count)),
            _ => Err(EstimateError::Bad { field, most }),
        },
    };
    let mut output = None;
    for field in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
        // Of two limits some providers heed one and some the other.
        output = output.max(read(field, OUTPUT_MAX)?);
    }
    Ok((output, read("n", ANSWERS_MAX)?.unwrap_or(1)))
}

/// Estimates a request, as it will be sent to a provider of this API under this name of the model.
///
/// # Errors
/// When it cannot be counted, or a limit in it is not of its kind.
pub fn estimate(
    operation: &Operation,
    request: &Object,
    api: LlmApi,
    model: &str,
) -> Result<Estimate, EstimateError> {
    let (output, answers) = limits(request)?;
    countable(request)?;
    let image = if model.contains("4o-mini") { IMAGE_TOKENS_MINI } else { IMAGE_TOKENS };
    let mut count = Count { texts: String::new(), tokens: REQUEST_OVERHEAD, image, path: String::new() };
    for (field, value) in request {
        match field.as_str() {
            "messages" | "input" | "system" | "instructions" => {
                field.clone_into(&mut count.path);
                count.content(value)?;
            }
            "tools" => {
                if let Some(tools) = value.as_array().filter(|tools| !tools.is_empty()) {
                    tools.iter().try_for_each(tool)?;
                    count.tokens += TOOLS_OVERHEAD + MESSAGE_OVERHEAD * tools.len() as u64;
                }
                count.text(&value.to_string());
            }
            "model" | "stream" | "metadata" | "user" => {}
            _ => count.text(&value.to_string()),
        }
    }
    let texts = bpe_openai::o200k_base().count(count.texts.as_str()) as u64;
    let texts = match api {
        LlmApi::OpenAi => texts,
        LlmApi::Anthropic => texts * OTHER_VOCABULARY_PERCENT / 100,
    };
    let output = if *operation == Operation::Embeddings { Some(0) } else { output };
    Ok(Estimate { input: texts.saturating_add(count.tokens), output, answers })
}

fn uncountable(field: impl Into<String>) -> EstimateError {
    EstimateError::Uncountable { field: field.into() }
}

/// Refuses fields whose use nobody can tell beforehand.
fn countable(request: &Object) -> Result<(), EstimateError> {
    // What the provider kept, what it fetches by itself, what it bills beyond the limit of the answer.
    const FIELDS: [&str; 9] = [
        "previous_response_id",
        "conversation",
        "prompt",
        "web_search_options",
        "prediction",
        "best_of",
        "mcp_servers",
        "container",
        "background",
    ];
    let said = |value: &Value| !(value.is_null() || value == &Value::Bool(false) || value == 1);
    match FIELDS.iter().find(|field| request.get(**field).is_some_and(said)) {
        Some(field) => Err(uncountable(*field)),
        None => Ok(()),
    }
}

/// Tools that the caller runs are text; others run at the provider and read what nobody can tell.
fn tool(tool: &Value) -> Result<(), EstimateError> {
    match tool.get("type").and_then(Value::as_str) {
        None | Some("function" | "custom") => Ok(()),
        Some(kind) => Err(uncountable(format!("tools of type {kind:?}"))),
    }
}

struct Count {
    texts: String,
    tokens: u64,
    image: u64,
    path: String,
}

impl Count {
    fn text(&mut self, text: &str) {
        self.texts.push_str(text);
        // Texts do not join into one word.
        self.texts.push('\n');
    }

    fn content(&mut self, value: &Value) -> Result<(), EstimateError> {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.text(&number.to_string()),
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                // A list of numbers is a text in tokens (embeddings): each is one.
                let numbers = items.iter().filter(|item| item.is_number()).count() as u64;
                self.tokens = self.tokens.saturating_add(numbers);
                for item in items.iter().filter(|item| !item.is_number()) {
                    self.tokens = self.tokens.saturating_add(MESSAGE_OVERHEAD);
                    self.content(item)?;
                }
            }
            Value::Object(object) => self.object(object)?,
        }
        Ok(())
    }

    fn object(&mut self, object: &Object) -> Result<(), EstimateError> {
        let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "image_url" | "input_image" | "image" => {
                if object.contains_key("file_id") {
                    return Err(uncountable(format!("{}: a picture by its id", self.path)));
                }
                self.tokens = self.tokens.saturating_add(self.image);
                return Ok(());
            }
            "input_audio" => {
                let data = object.get("input_audio").and_then(|audio| audio.get("data"));
                let Some(data) = data.and_then(Value::as_str) else {
                    return Err(uncountable(format!("{}: sound that is not there", self.path)));
                };
                self.tokens = self.tokens.saturating_add(data.len() as u64 / AUDIO_BYTES_PER_TOKEN + 16);
                return Ok(());
            }
            "document" => {
                let source = object.get("source").and_then(|source| source.get("type"));
                if source.is_none_or(|kind| kind != "text") {
                    return Err(uncountable(format!("{}: a document that is no text", self.path)));
                }
            }
            "file"
            | "input_file"
            | "item_reference"
            | "container_upload"
            | "file_search_call"
            | "computer_call"
            | "computer_call_output"
            | "search_result" => {
                return Err(uncountable(format!("{}: {kind:?}", self.path)));
            }
            _ => {}
        }
        // An id in place of the thing itself.
        if object.contains_key("file_id") || (kind.is_empty() && object.keys().eq(["id"])) {
            return Err(uncountable(format!("{}: something by its id", self.path)));
        }
        if object.get("audio").is_some_and(|audio| !audio.is_null()) {
            return Err(uncountable(format!("{}: sound by its id", self.path)));
        }
        for (field, value) in object {
            match field.as_str() {
                "cache_control" => {}
                // Arguments and inputs of calls are written as JSON.
                "input" | "arguments" | "schema" | "parameters" => self.text(&value.to_string()),
                "role" | "type" => self.tokens = self.tokens.saturating_add(1),
                _ => self.content(value)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::map;

    fn of(request: Value) -> Result<Estimate, EstimateError> {
        estimate(&Operation::Chat, &map(request), LlmApi::OpenAi, "gpt")
    }

    #[test]
    fn limits_are_whole_numbers() {
        for (value, expected) in [
            (json!(1), Ok(Some(1))),
            (json!(null), Ok(None)),
            (json!(OUTPUT_MAX), Ok(Some(OUTPUT_MAX))),
            (json!(OUTPUT_MAX + 1), Err(())),
            (json!(0), Err(())),
            (json!(-1), Err(())),
            (json!(1.5), Err(())),
            (json!("100"), Err(())),
            (json!(1e300), Err(())),
            (json!([1]), Err(())),
        ] {
            for field in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
                let request = map(json!({field: value}));
                assert_eq!(limits(&request).map(|it| it.0).map_err(|_| ()), expected, "{field}: {value}");
            }
        }
        assert_eq!(limits(&map(json!({"max_tokens": 5, "max_completion_tokens": 9}))), Ok((Some(9), 1)));
        assert_eq!(limits(&map(json!({"n": ANSWERS_MAX}))), Ok((None, ANSWERS_MAX)));
        for n in [json!(ANSWERS_MAX + 1), json!(0), json!(-3), json!("2"), json!(1e9)] {
            assert!(limits(&map(json!({"n": n}))).is_err(), "{n}");
        }
    }

    #[test]
    fn every_text_of_a_prompt_counts() {
        let few = of(json!({"messages": [{"role": "user", "content": "hello"}]})).unwrap().input;
        let more = |request: Value| {
            let many = of(request.clone()).unwrap().input;
            assert!(many >= few + 400, "{many} of {request}");
        };
        let long = "word ".repeat(500);
        more(json!({"messages": [{"role": "user", "content": long}]}));
        more(json!({"messages": [{"role": "user", "content": [{"type": "text", "text": long}]}]}));
        more(
            json!({"messages": [{"role": "user", "content": [{"type": "strange", "strange": {"deep": [long]}}]}]}),
        );
        more(json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": long}}]}]}));
        more(json!({"messages": [], "tools": [{"type": "function", "function": {"description": long}}]}));
        more(json!({"messages": [], "response_format": {"schema": long}}));
        more(json!({"messages": [], "strange": long}));
        more(json!({"system": long}));
        more(json!({"instructions": long}));
        more(json!({"input": long}));
        more(json!({"input": vec![7; 500]}));
        more(
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}),
        );
        more(
            json!({"messages": (0..60).map(|_| json!({"role": "user", "content": ""})).collect::<Vec<_>>()}),
        );
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        for request in [
            json!({"previous_response_id": "r"}),
            json!({"conversation": "c"}),
            json!({"prompt": {"id": "p"}}),
            json!({"background": true}),
            json!({"best_of": 4}),
            json!({"web_search_options": {}}),
            json!({"prediction": {}}),
            json!({"mcp_servers": [{}]}),
            json!({"tools": [{"type": "web_search"}]}),
            json!({"tools": [{"type": "web_search_20250305"}]}),
            json!({"input": [{"type": "item_reference", "id": "x"}]}),
            json!({"input": [{"id": "x"}]}),
            json!({"input": [{"type": "input_file", "file_url": "https://x"}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}]}),
            json!({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}),
            json!({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]}),
        ] {
            assert!(matches!(of(request.clone()), Err(EstimateError::Uncountable { .. })), "{request}");
        }
        assert!(of(json!({"background": false, "previous_response_id": null, "best_of": 1})).is_ok());
    }

    #[test]
    fn embeddings_have_no_output() {
        let request = map(json!({"input": ["a", "b"]}));
        let estimate = estimate(&Operation::Embeddings, &request, LlmApi::OpenAi, "e").unwrap();
        assert_eq!(estimate.output, Some(0));
    }
}
