//! Anthropic's messages, to and from the neutral form.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    json::{self, Object},
    neutral::{
        Answer, AnswerPart, Choice, Image, NotTranslatable, Part, Piece, Prompt, Role, Stop, Tool, Turn,
        Usage,
    },
};

/// The output limit that is sent where neither the caller nor a quota names one; this API wants one.
pub const OUTPUT_DEFAULT: u64 = 4096;

/// Reads a request.
///
/// # Errors
/// When something in it has no word in the neutral form.
pub fn prompt(request: &Object) -> Result<Prompt, NotTranslatable> {
    let mut prompt = Prompt::default();
    for (field, value) in request {
        let bad = || NotTranslatable::at(field);
        match field.as_str() {
            "model" => {}
            _ if value.is_null() => {}
            "system" => prompt.system = system(value).ok_or_else(bad)?,
            "messages" => {
                for (at, message) in value.as_array().ok_or_else(bad)?.iter().enumerate() {
                    prompt.turns.extend(turn(message, &format!("messages[{at}]"))?);
                }
            }
            "tools" => {
                for (at, tool) in value.as_array().ok_or_else(bad)?.iter().enumerate() {
                    prompt
                        .tools
                        .push(self::tool(tool).ok_or_else(|| NotTranslatable::at(format!("tools[{at}]")))?);
                }
            }
            "tool_choice" => {
                prompt.choice = Some(choice(value).ok_or_else(bad)?);
                let alone = value.get("disable_parallel_tool_use").and_then(Value::as_bool);
                prompt.parallel = alone.map(|alone| !alone);
            }
            "max_tokens" => prompt.output_most = Some(value.as_u64().ok_or_else(bad)?),
            "temperature" => prompt.temperature = Some(value.as_f64().ok_or_else(bad)?),
            "top_p" => prompt.top_p = Some(value.as_f64().ok_or_else(bad)?),
            "stop_sequences" => prompt.stop = crate::chat::texts(value).ok_or_else(bad)?,
            "stream" => prompt.stream = value.as_bool().ok_or_else(bad)?,
            "metadata" => prompt.user = value.get("user_id").and_then(Value::as_str).map(str::to_owned),
            "thinking" if value.get("type") == Some(&json!("disabled")) => {}
            // How it is billed and cached, not what is answered.
            "service_tier" | "cache_control" => {}
            _ => {
                prompt.rest.insert(field.clone(), value.clone());
            }
        }
    }
    Ok(prompt)
}

fn system(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) if text.is_empty() => Some(Vec::new()),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(text_block).collect(),
        _ => None,
    }
}

fn text_block(block: &Value) -> Option<String> {
    let plain = block.get("type")? == "text" && block.get("citations").is_none_or(Value::is_null);
    block.get("text").and_then(Value::as_str).filter(|_| plain).map(str::to_owned)
}

fn turn(message: &Value, path: &str) -> Result<Option<Turn>, NotTranslatable> {
    let role = match message.get("role").and_then(Value::as_str) {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        _ => return Err(NotTranslatable::at(format!("{path}.role"))),
    };
    let parts = match message.get("content") {
        Some(Value::String(text)) => vec![Part::Text(text.clone())],
        Some(Value::Array(list)) => {
            let mut parts = Vec::with_capacity(list.len());
            for (at, block) in list.iter().enumerate() {
                let bad = || NotTranslatable::at(format!("{path}.content[{at}]"));
                parts.push(part(block).ok_or_else(bad)?);
            }
            parts
        }
        _ => return Err(NotTranslatable::at(format!("{path}.content"))),
    };
    Ok((!parts.is_empty()).then_some(Turn { role, parts }))
}

fn part(block: &Value) -> Option<Part> {
    let text = |field: &str| block.get(field).and_then(Value::as_str).map(str::to_owned);
    match block.get("type")?.as_str()? {
        "text" => text_block(block).map(Part::Text),
        "image" => {
            let source = block.get("source")?;
            let text = |field: &str| source.get(field).and_then(Value::as_str).map(str::to_owned);
            match source.get("type")?.as_str()? {
                "base64" => {
                    Some(Part::Image(Image::Base64 { media: text("media_type")?, data: text("data")? }))
                }
                "url" => Some(Part::Image(Image::Url(text("url")?))),
                _ => None,
            }
        }
        "tool_use" => Some(Part::Call {
            id: text("id")?,
            name: text("name")?,
            arguments: block.get("input")?.as_object()?.clone(),
        }),
        "tool_result" => Some(Part::Outcome {
            id: text("tool_use_id")?,
            parts: match block.get("content") {
                None | Some(Value::Null) => Vec::new(),
                Some(Value::String(text)) => vec![Part::Text(text.clone())],
                Some(Value::Array(list)) => {
                    let parts: Option<Vec<Part>> = list.iter().map(part).collect();
                    parts
                        .filter(|parts| parts.iter().all(|it| matches!(it, Part::Text(_) | Part::Image(_))))?
                }
                Some(_) => return None,
            },
            failed: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
        }),
        _ => None,
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    const FIELDS: [&str; 6] = ["name", "description", "input_schema", "type", "strict", "cache_control"];
    let object = tool.as_object()?;
    let strange = |(field, value): (&String, &Value)| !FIELDS.contains(&field.as_str()) && !value.is_null();
    if object.iter().any(strange) || json::text(object, "type").is_some_and(|kind| kind != "custom") {
        return None;
    }
    Some(Tool {
        name: json::text(object, "name")?.to_owned(),
        description: json::text(object, "description").map(str::to_owned),
        schema: object.get("input_schema")?.clone(),
        strict: object.get("strict").and_then(Value::as_bool),
    })
}

fn choice(value: &Value) -> Option<Choice> {
    Some(match value.get("type")?.as_str()? {
        "auto" => Choice::Auto,
        "none" => Choice::None,
        "any" => Choice::Required,
        "tool" => Choice::Named(value.get("name")?.as_str()?.to_owned()),
        _ => return None,
    })
}

/// Writes a request.
///
/// # Errors
/// When something in it has no form here.
pub fn request(prompt: &Prompt, model: &str) -> Result<Object, NotTranslatable> {
    if let Some((field, _)) = prompt.rest.iter().next() {
        return Err(NotTranslatable::at(field));
    }
    // Here temperatures end at 1.
    if prompt.temperature.is_some_and(|it| it > 1.0) {
        return Err(NotTranslatable::at("temperature"));
    }
    let mut list: Vec<Value> = Vec::new();
    for turn in &prompt.turns {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        let content: Vec<Value> = turn.parts.iter().map(write_part).collect();
        list.push(json!({"role": role, "content": content}));
    }
    let most = prompt.output_most.unwrap_or(OUTPUT_DEFAULT);
    let mut out = json::map(json!({"model": model, "max_tokens": most, "messages": list}));
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(field.to_owned(), value);
        }
    };
    let system = prompt.system.iter().map(|text| json!({"type": "text", "text": text}));
    put("system", (!prompt.system.is_empty()).then(|| system.collect()));
    if !prompt.tools.is_empty() {
        let tools = prompt.tools.iter().map(|tool| {
            let mut out = json!({"name": tool.name, "input_schema": tool.schema});
            if let Some(description) = &tool.description {
                out["description"] = json!(description);
            }
            if tool.strict == Some(true) {
                out["strict"] = json!(true);
            }
            out
        });
        put("tools", Some(tools.collect()));
        let mut choice = match &prompt.choice {
            None | Some(Choice::Auto) => json!({"type": "auto"}),
            Some(Choice::None) => json!({"type": "none"}),
            Some(Choice::Required) => json!({"type": "any"}),
            Some(Choice::Named(name)) => json!({"type": "tool", "name": name}),
        };
        if prompt.parallel == Some(false) && prompt.choice != Some(Choice::None) {
            choice["disable_parallel_tool_use"] = json!(true);
        }
        put("tool_choice", (prompt.choice.is_some() || prompt.parallel == Some(false)).then_some(choice));
    }
    put("temperature", prompt.temperature.map(Value::from));
    put("top_p", prompt.top_p.map(Value::from));
    put("stop_sequences", (!prompt.stop.is_empty()).then(|| json!(prompt.stop)));
    put("metadata", prompt.user.as_ref().map(|user| json!({"user_id": user})));
    put("stream", prompt.stream.then(|| json!(true)));
    Ok(out)
}

fn write_part(part: &Part) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(Image::Url(url)) => json!({"type": "image", "source": {"type": "url", "url": url}}),
        Part::Image(Image::Base64 { media, data }) => {
            json!({"type": "image", "source": {"type": "base64", "media_type": media, "data": data}})
        }
        Part::Call { id, name, arguments } => {
            json!({"type": "tool_use", "id": id, "name": name, "input": arguments})
        }
        Part::Outcome { id, parts, failed } => {
            let content: Vec<Value> = parts.iter().map(write_part).collect();
            let mut out = json!({"type": "tool_result", "tool_use_id": id, "content": content});
            if *failed {
                out["is_error"] = json!(true);
            }
            out
        }
    }
}

/// Reads an answer. `None`: it is none.
pub fn answer(answer: &Object) -> Option<Answer> {
    let mut parts = Vec::new();
    for block in answer.get("content")?.as_array()? {
        let text = |field: &str| block.get(field).and_then(Value::as_str).map(str::to_owned);
        match block.get("type")?.as_str()? {
            "text" => parts.push(AnswerPart::Text(text("text")?)),
            "thinking" => parts.push(AnswerPart::Reasoning(text("thinking")?)),
            "tool_use" => parts.push(AnswerPart::Call {
                id: text("id")?,
                name: text("name")?,
                arguments: block.get("input")?.to_string(),
            }),
            // Sealed thinking, which nobody but its provider can read.
            _ => {}
        }
    }
    Some(Answer {
        id: json::text(answer, "id").unwrap_or_default().to_owned(),
        model: json::text(answer, "model").unwrap_or_default().to_owned(),
        parts,
        stop: stop(json::text(answer, "stop_reason"), json::text(answer, "stop_sequence")),
        usage: answer.get("usage").and_then(usage),
    })
}

fn stop(reason: Option<&str>, sequence: Option<&str>) -> Stop {
    match reason {
        Some("max_tokens" | "model_context_window_exceeded") => Stop::Length,
        Some("tool_use") => Stop::Call,
        Some("stop_sequence") => Stop::Text(sequence.map(str::to_owned)),
        Some("refusal") => Stop::Refused,
        _ => Stop::Complete,
    }
}

/// Reads what was used. `None`: it does not say it, or says what cannot be.
pub fn usage(usage: &Value) -> Option<Usage> {
    let optional = |field: &str| match usage.get(field) {
        None | Some(Value::Null) => Some(0),
        Some(count) => count.as_u64(),
    };
    // Here what a cache held does not count as input, so it is added.
    let cached = optional("cache_read_input_tokens")?;
    let created = optional("cache_creation_input_tokens")?;
    let input = usage.get("input_tokens")?.as_u64()?;
    Some(Usage {
        input: input.saturating_add(cached).saturating_add(created),
        output: optional("output_tokens")?,
        cached,
    })
}

fn write_usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input.saturating_sub(usage.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
    })
}

fn stop_reason(stop: &Stop) -> (&'static str, Option<&str>) {
    match stop {
        Stop::Complete => ("end_turn", None),
        Stop::Length => ("max_tokens", None),
        Stop::Call => ("tool_use", None),
        Stop::Text(text) => ("stop_sequence", text.as_deref()),
        Stop::Refused => ("refusal", None),
    }
}

/// Writes an answer.
///
/// # Errors
/// When the model called a tool with arguments that are no object, which this protocol cannot say.
pub fn write_answer(answer: &Answer) -> Result<Value, NotTranslatable> {
    let mut content = Vec::new();
    for part in &answer.parts {
        match part {
            AnswerPart::Text(text) => content.push(json!({"type": "text", "text": text})),
            // Without the signature that only its own provider can make, a caller could not send it back.
            AnswerPart::Reasoning(_) => {}
            AnswerPart::Call { id, name, arguments } => {
                let input = crate::chat::arguments(arguments);
                let input = input.ok_or_else(|| NotTranslatable::at("tool_calls[].function.arguments"))?;
                content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
            }
        }
    }
    let (reason, sequence) = stop_reason(&answer.stop);
    Ok(json!({
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": write_usage(answer.usage.unwrap_or_default()),
    }))
}

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Reader {
    // The call that a block is, by the block's index.
    calls: BTreeMap<u64, u64>,
    usage: Object,
}

/// Most calls of tools in one streamed answer; further ones end it.
pub const CALLS_MAX: usize = 1024;

impl Reader {
    /// Reads the data of one event.
    pub fn read(&mut self, data: &Value) -> Vec<Piece> {
        let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let index = data.get("index").and_then(Value::as_u64).unwrap_or(0);
        let mut pieces = Vec::new();
        match data.get("type").and_then(Value::as_str).unwrap_or_default() {
            "message_start" => {
                pieces.push(Piece::Start {
                    id: text("/message/id").unwrap_or_default(),
                    model: text("/message/model").unwrap_or_default(),
                });
                pieces.extend(self.used(data.pointer("/message/usage")));
            }
            "content_block_start" => match text("/content_block/type").as_deref() {
                Some("tool_use") if self.calls.len() < CALLS_MAX => {
                    let slot = self.calls.len() as u64;
                    self.calls.insert(index, slot);
                    pieces.push(Piece::Call {
                        slot,
                        id: text("/content_block/id").unwrap_or_default(),
                        name: text("/content_block/name").unwrap_or_default(),
                    });
                }
                Some("tool_use") => pieces.push(Piece::Error {
                    kind: "api_error".to_owned(),
                    message: "the answer calls too many tools".to_owned(),
                }),
                Some("text") => {
                    let text = text("/content_block/text").filter(|text| !text.is_empty());
                    pieces.extend(text.map(|text| Piece::Text { choice: 0, text }));
                }
                _ => {}
            },
            "content_block_delta" => match text("/delta/type").as_deref() {
                Some("text_delta") => {
                    pieces.extend(text("/delta/text").map(|text| Piece::Text { choice: 0, text }));
                }
                Some("thinking_delta") => pieces.extend(text("/delta/thinking").map(Piece::Reasoning)),
                Some("input_json_delta") => {
                    let slot = self.calls.get(&index).copied().unwrap_or(0);
                    pieces.extend(text("/delta/partial_json").map(|text| Piece::Arguments { slot, text }));
                }
                _ => {}
            },
            "message_delta" => {
                pieces.extend(self.used(data.get("usage")));
                if let Some(reason) = text("/delta/stop_reason") {
                    pieces.push(Piece::Stop(stop(Some(&reason), text("/delta/stop_sequence").as_deref())));
                }
            }
            "message_stop" => pieces.push(Piece::End),
            "error" => pieces.push(Piece::Error {
                kind: text("/error/type").unwrap_or_else(|| "api_error".to_owned()),
                message: text("/error/message").unwrap_or_default(),
            }),
            _ => {}
        }
        pieces
    }

    // Counts come in parts: the prompt's at the beginning, the answer's at the end, and a later one replaces.
    fn used(&mut self, usage: Option<&Value>) -> Option<Piece> {
        const COUNTS: [&str; 4] =
            ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
        let said = usage.and_then(Value::as_object)?;
        for field in COUNTS {
            if let Some(value) = said.get(field).filter(|value| !value.is_null()) {
                self.usage.insert(field.to_owned(), value.clone());
            }
        }
        self::usage(&Value::Object(self.usage.clone())).map(Piece::Usage)
    }
}

/// Writes a stream.
#[derive(Debug, Default)]
pub struct Writer {
    // The open block, and how many there were.
    open: Option<Open>,
    blocks: u64,
    // Which call opened a block.
    slots: BTreeMap<u64, u64>,
    usage: Usage,
    stop: Option<Stop>,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Call(u64),
}

impl Writer {
    fn event(name: &str, mut data: Value) -> (String, String) {
        data["type"] = json!(name);
        (name.to_owned(), data.to_string())
    }

    fn close(&mut self, out: &mut Vec<(String, String)>) {
        if self.open.take().is_some() {
            out.push(Self::event("content_block_stop", json!({"index": self.blocks - 1})));
        }
    }

    fn open(&mut self, kind: Open, block: Value, out: &mut Vec<(String, String)>) {
        if self.open == Some(kind) {
            return;
        }
        self.close(out);
        out.push(Self::event("content_block_start", json!({"index": self.blocks, "content_block": block})));
        self.open = Some(kind);
        self.blocks += 1;
    }

    fn delta(&self, delta: Value) -> (String, String) {
        Self::event("content_block_delta", json!({"index": self.blocks.saturating_sub(1), "delta": delta}))
    }

    /// What one piece is here: names and data of events.
    pub fn write(&mut self, piece: &Piece) -> Vec<(String, String)> {
        let mut out = Vec::new();
        match piece {
            Piece::Start { id, model } => {
                let message = json!({
                    "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": write_usage(self.usage),
                });
                out.push(Self::event("message_start", json!({"message": message})));
            }
            Piece::Text { text, .. } => {
                self.open(Open::Text, json!({"type": "text", "text": ""}), &mut out);
                out.push(self.delta(json!({"type": "text_delta", "text": text})));
            }
            Piece::Reasoning(text) => {
                self.open(
                    Open::Thinking,
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    &mut out,
                );
                out.push(self.delta(json!({"type": "thinking_delta", "thinking": text})));
            }
            Piece::Call { slot, id, name } => {
                let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
                self.open(Open::Call(*slot), block, &mut out);
                self.slots.insert(*slot, self.blocks - 1);
            }
            Piece::Arguments { slot, text } => {
                let index = self.slots.get(slot).copied().unwrap_or(self.blocks.saturating_sub(1));
                let delta = json!({"type": "input_json_delta", "partial_json": text});
                out.push(Self::event("content_block_delta", json!({"index": index, "delta": delta})));
            }
            Piece::Stop(stop) => {
                self.close(&mut out);
                // Said at the end, together with what was used.
                self.stop.get_or_insert_with(|| stop.clone());
            }
            Piece::Usage(usage) => self.usage = *usage,
            Piece::Error { kind, message } => {
                out.push(("error".to_owned(), error(kind, message).to_string()));
            }
            Piece::End if !self.ended => {
                self.ended = true;
                self.close(&mut out);
                let stop = self.stop.clone().unwrap_or(Stop::Complete);
                let (reason, sequence) = stop_reason(&stop);
                let delta = json!({"stop_reason": reason, "stop_sequence": sequence});
                out.push(Self::event(
                    "message_delta",
                    json!({"delta": delta, "usage": write_usage(self.usage)}),
                ));
                out.push(Self::event("message_stop", json!({})));
            }
            Piece::End => {}
        }
        out
    }
}

/// An error as Anthropic says it.
pub fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}
