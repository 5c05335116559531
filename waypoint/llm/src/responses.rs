//! OpenAI's responses, to the neutral form and, for answers, from it.
//!
//! What a response leaves with its provider (`previous_response_id`, conversations) has no word in the neutral form.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    chat,
    json::Object,
    neutral::{Answer, AnswerPart, Image, NotTranslatable, Part, Piece, Prompt, Role, Stop, Turn, Usage},
};

/// Fields that only say how the provider keeps or bills what is asked, not what is answered.
const IDLE: [&str; 7] = [
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "stream_options",
];

/// Reads a request.
///
/// # Errors
/// When something in it has no word in the neutral form.
pub fn prompt(request: &Object) -> Result<Prompt, NotTranslatable> {
    let mut prompt = Prompt::default();
    if let Some(instructions) = request.get("instructions").filter(|it| !it.is_null()) {
        let text = instructions.as_str().ok_or_else(|| NotTranslatable::at("instructions"))?;
        prompt.system.push(text.to_owned());
    }
    for (field, value) in request {
        let bad = || NotTranslatable::at(field);
        match field.as_str() {
            "model" | "instructions" => {}
            _ if value.is_null() || IDLE.contains(&field.as_str()) => {}
            "input" => input(value, &mut prompt)?,
            "tools" => {
                for (at, tool) in value.as_array().ok_or_else(bad)?.iter().enumerate() {
                    let is_function = tool.get("type") == Some(&json!("function"));
                    let object = tool.as_object().filter(|_| is_function);
                    let tool = object.and_then(|object| chat::function(object, &["type"]));
                    prompt.tools.push(tool.ok_or_else(|| NotTranslatable::at(format!("tools[{at}]")))?);
                }
            }
            "tool_choice" => {
                prompt.choice = Some(chat::choice(value, |it| it.get("name")).ok_or_else(bad)?);
            }
            "parallel_tool_calls" => prompt.parallel = Some(value.as_bool().ok_or_else(bad)?),
            "max_output_tokens" => prompt.output_most = Some(value.as_u64().ok_or_else(bad)?),
            "temperature" => prompt.temperature = Some(value.as_f64().ok_or_else(bad)?),
            "top_p" => prompt.top_p = Some(value.as_f64().ok_or_else(bad)?),
            "stream" => prompt.stream = value.as_bool().ok_or_else(bad)?,
            "user" => prompt.user = Some(value.as_str().ok_or_else(bad)?.to_owned()),
            // These say what is so anyway.
            "truncation" if value == "disabled" => {}
            "background" if value == false => {}
            "top_logprobs" if value == 0 => {}
            "include" if value.as_array().is_some_and(Vec::is_empty) => {}
            "reasoning" if value.as_object().is_some_and(|it| it.values().all(Value::is_null)) => {}
            "text" if value.get("format").is_none_or(|it| it.get("type") == Some(&json!("text"))) => {
                if value.get("verbosity").is_some_and(|it| !it.is_null() && it != "medium") {
                    return Err(NotTranslatable::at("text.verbosity"));
                }
            }
            _ => {
                prompt.rest.insert(field.clone(), value.clone());
            }
        }
    }
    Ok(prompt)
}

fn input(value: &Value, prompt: &mut Prompt) -> Result<(), NotTranslatable> {
    if let Some(text) = value.as_str() {
        prompt.turns.push(Turn { role: Role::User, parts: vec![Part::Text(text.to_owned())] });
        return Ok(());
    }
    let items = value.as_array().ok_or_else(|| NotTranslatable::at("input"))?;
    for (at, item) in items.iter().enumerate() {
        item_of(item, prompt).map_err(|field| NotTranslatable::at(format!("input[{at}]{field}")))?;
    }
    Ok(())
}

fn item_of(item: &Value, prompt: &mut Prompt) -> Result<(), &'static str> {
    let text = |field: &str| item.get(field).and_then(Value::as_str);
    match text("type").unwrap_or("message") {
        "message" => {
            let parts = parts(item.get("content").unwrap_or(&Value::Null)).ok_or(".content")?;
            match text("role") {
                Some("system" | "developer") if prompt.turns.is_empty() => {
                    for part in parts {
                        match part {
                            Part::Text(text) => prompt.system.push(text),
                            _ => return Err(".content"),
                        }
                    }
                }
                Some("user") => prompt.turns.push(Turn { role: Role::User, parts }),
                Some("assistant") => said(prompt, parts),
                _ => return Err(".role"),
            }
        }
        "function_call" => {
            let call = Part::Call {
                id: text("call_id").ok_or(".call_id")?.to_owned(),
                name: text("name").ok_or(".name")?.to_owned(),
                arguments: text("arguments").and_then(chat::arguments).ok_or(".arguments")?,
            };
            said(prompt, vec![call]);
        }
        "function_call_output" => {
            let id = text("call_id").ok_or(".call_id")?;
            let parts = parts(item.get("output").unwrap_or(&Value::Null)).ok_or(".output")?;
            chat::outcome(prompt, id, parts, false);
        }
        _ => return Err(".type"),
    }
    Ok(())
}

/// The items of one turn of the model stand one after the other here.
fn said(prompt: &mut Prompt, parts: Vec<Part>) {
    match prompt.turns.last_mut() {
        Some(last) if last.role == Role::Assistant => last.parts.extend(parts),
        _ => prompt.turns.push(Turn { role: Role::Assistant, parts }),
    }
}

fn parts(content: &Value) -> Option<Vec<Part>> {
    match content {
        Value::String(text) => Some(vec![Part::Text(text.clone())]),
        Value::Array(list) => list
            .iter()
            .map(|part| match part.get("type")?.as_str()? {
                "input_text" | "output_text" | "text" => {
                    Some(Part::Text(part.get("text")?.as_str()?.to_owned()))
                }
                "input_image" => Image::of(part.get("image_url")?.as_str()?).map(Part::Image),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// True if the object is an answer.
pub fn is_answer(answer: &Object) -> bool {
    answer.get("output").is_some_and(Value::is_array)
}

/// Reads what was used. `None`: it does not say it, or says what cannot be.
pub fn usage(usage: &Value) -> Option<Usage> {
    Some(Usage {
        input: usage.get("input_tokens")?.as_u64()?,
        output: usage.get("output_tokens")?.as_u64()?,
        cached: usage.pointer("/input_tokens_details/cached_tokens").and_then(Value::as_u64).unwrap_or(0),
    })
}

fn write_usage(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total(),
    })
}

/// Writes an answer.
pub fn write_answer(answer: &Answer, created: u64) -> Value {
    let mut output = Vec::new();
    for part in &answer.parts {
        let at = output.len();
        match part {
            AnswerPart::Text(text) => {
                output.push(message(&item_name("msg", &answer.id, at), text, "completed"))
            }
            // Reasoning items are sealed by their own provider.
            AnswerPart::Reasoning(_) => {}
            AnswerPart::Call { id, name, arguments } => {
                output.push(call(&item_name("fc", &answer.id, at), id, name, arguments, "completed"));
            }
        }
    }
    envelope(&answer.id, &answer.model, created, Some(&answer.stop), output, answer.usage)
}

fn item_name(kind: &str, id: &str, at: usize) -> String {
    format!("{kind}_{id}_{at}")
}

fn message(item: &str, text: &str, status: &str) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    json!({"id": item, "type": "message", "role": "assistant", "status": status, "content": [part]})
}

fn call(item: &str, id: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": item, "type": "function_call", "status": status,
        "call_id": id, "name": name, "arguments": arguments,
    })
}

fn envelope(
    id: &str,
    model: &str,
    created: u64,
    stop: Option<&Stop>,
    output: Vec<Value>,
    usage: Option<Usage>,
) -> Value {
    let (status, details) = match stop {
        None => ("in_progress", Value::Null),
        Some(Stop::Length) => ("incomplete", json!({"reason": "max_output_tokens"})),
        Some(Stop::Refused) => ("incomplete", json!({"reason": "content_filter"})),
        Some(_) => ("completed", Value::Null),
    };
    json!({
        "id": id, "object": "response", "created_at": created, "status": status, "model": model,
        "error": null, "incomplete_details": details, "instructions": null, "metadata": {},
        "output": output, "parallel_tool_calls": true, "temperature": null, "top_p": null,
        "tool_choice": "auto", "tools": [], "store": false, "usage": usage.map(write_usage),
    })
}

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Reader {
    // The call that an item is, by the item's place.
    calls: BTreeMap<u64, u64>,
}

impl Reader {
    /// Reads the data of one event.
    pub fn read(&mut self, data: &Value) -> Vec<Piece> {
        let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let index = data.get("output_index").and_then(Value::as_u64).unwrap_or(0);
        match data.get("type").and_then(Value::as_str).unwrap_or_default() {
            "response.created" => vec![Piece::Start {
                id: text("/response/id").unwrap_or_default(),
                model: text("/response/model").unwrap_or_default(),
            }],
            "response.output_text.delta" | "response.refusal.delta" => {
                let piece = |text| Piece::Text { choice: index, text };
                text("/delta").map(piece).into_iter().collect()
            }
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                text("/delta").map(Piece::Reasoning).into_iter().collect()
            }
            "response.output_item.added" if text("/item/type").as_deref() == Some("function_call") => {
                let slot = self.calls.len() as u64;
                self.calls.insert(index, slot);
                vec![Piece::Call {
                    slot,
                    id: text("/item/call_id").unwrap_or_default(),
                    name: text("/item/name").unwrap_or_default(),
                }]
            }
            "response.function_call_arguments.delta" => {
                let slot = self.calls.get(&index).copied().unwrap_or(0);
                text("/delta").map(|text| Piece::Arguments { slot, text }).into_iter().collect()
            }
            "response.completed" | "response.incomplete" => {
                let stop = match text("/response/incomplete_details/reason").as_deref() {
                    Some("max_output_tokens") => Stop::Length,
                    Some(_) => Stop::Refused,
                    None => Stop::Complete,
                };
                let mut pieces = vec![Piece::Stop(stop)];
                pieces.extend(data.pointer("/response/usage").and_then(usage).map(Piece::Usage));
                pieces.push(Piece::End);
                pieces
            }
            "response.failed" => {
                let mut pieces: Vec<Piece> =
                    data.pointer("/response/usage").and_then(usage).map(Piece::Usage).into_iter().collect();
                pieces.push(Piece::Error {
                    kind: text("/response/error/code").unwrap_or_else(|| "server_error".to_owned()),
                    message: text("/response/error/message").unwrap_or_default(),
                });
                pieces
            }
            "error" => vec![Piece::Error {
                kind: text("/code").unwrap_or_else(|| "server_error".to_owned()),
                message: text("/message").unwrap_or_default(),
            }],
            _ => Vec::new(),
        }
    }
}

/// Writes a stream.
#[derive(Debug)]
pub struct Writer {
    id: String,
    model: String,
    created: u64,
    sequence: u64,
    // What is complete, and what is being written.
    output: Vec<Value>,
    open: Option<Open>,
    stop: Option<Stop>,
    usage: Option<Usage>,
}

#[derive(Debug)]
enum Open {
    Text { item: String, text: String },
    Call { item: String, slot: u64, id: String, name: String, arguments: String },
}

impl Writer {
    /// A stream that began at this time, in seconds.
    pub fn new(created: u64) -> Self {
        Self {
            id: String::new(),
            model: String::new(),
            created,
            sequence: 0,
            output: Vec::new(),
            open: None,
            stop: None,
            usage: None,
        }
    }

    fn event(&mut self, name: &str, mut data: Value, out: &mut Vec<(String, String)>) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        out.push((name.to_owned(), data.to_string()));
    }

    fn whole(&self, stop: Option<&Stop>) -> Value {
        envelope(&self.id, &self.model, self.created, stop, self.output.clone(), self.usage)
    }

    fn close(&mut self, out: &mut Vec<(String, String)>) {
        let at = self.output.len();
        let item = match self.open.take() {
            None => return,
            Some(Open::Text { item, text }) => {
                let place = |data: &mut Value| {
                    data["item_id"] = json!(item);
                    data["output_index"] = json!(at);
                    data["content_index"] = json!(0);
                };
                let mut done = json!({"text": text, "logprobs": []});
                place(&mut done);
                self.event("response.output_text.done", done, out);
                let whole = message(&item, &text, "completed");
                let mut done = json!({"part": whole["content"][0]});
                place(&mut done);
                self.event("response.content_part.done", done, out);
                whole
            }
            Some(Open::Call { item, id, name, arguments, .. }) => {
                let done = json!({"item_id": item, "output_index": at, "name": name, "arguments": arguments});
                self.event("response.function_call_arguments.done", done, out);
                call(&item, &id, &name, &arguments, "completed")
            }
        };
        self.event("response.output_item.done", json!({"output_index": at, "item": item}), out);
        self.output.push(item);
    }

    /// What one piece is here: names and data of events.
    pub fn write(&mut self, piece: &Piece) -> Vec<(String, String)> {
        let mut out = Vec::new();
        match piece {
            Piece::Start { id, model } => {
                (self.id, self.model) = (id.clone(), model.clone());
                let whole = self.whole(None);
                self.event("response.created", json!({"response": whole}), &mut out);
                self.event("response.in_progress", json!({"response": whole}), &mut out);
            }
            Piece::Text { text, .. } => self.text(text, &mut out),
            Piece::Reasoning(_) => {}
            Piece::Call { slot, id, name } => {
                self.close(&mut out);
                let at = self.output.len();
                let item = item_name("fc", &self.id, at);
                let shown = call(&item, id, name, "", "in_progress");
                self.event(
                    "response.output_item.added",
                    json!({"output_index": at, "item": shown}),
                    &mut out,
                );
                let (id, name) = (id.clone(), name.clone());
                self.open = Some(Open::Call { item, slot: *slot, id, name, arguments: String::new() });
            }
            Piece::Arguments { slot: wanted, text } => {
                let at = self.output.len();
                if let Some(Open::Call { item, slot, arguments, .. }) = &mut self.open
                    && slot == wanted
                {
                    arguments.push_str(text);
                    let data = json!({"item_id": item, "output_index": at, "delta": text});
                    self.event("response.function_call_arguments.delta", data, &mut out);
                }
            }
            Piece::Stop(stop) => {
                self.close(&mut out);
                self.stop.get_or_insert_with(|| stop.clone());
            }
            Piece::Usage(usage) => self.usage = Some(*usage),
            Piece::Error { kind, message } => {
                let data = json!({"code": kind, "message": message, "param": null});
                self.event("error", data, &mut out);
            }
            Piece::End => {
                self.close(&mut out);
                let stop = self.stop.clone().unwrap_or(Stop::Complete);
                let name = match stop {
                    Stop::Length | Stop::Refused => "response.incomplete",
                    _ => "response.completed",
                };
                let whole = self.whole(Some(&stop));
                self.event(name, json!({"response": whole}), &mut out);
            }
        }
        out
    }

    fn text(&mut self, more: &str, out: &mut Vec<(String, String)>) {
        if !matches!(self.open, Some(Open::Text { .. })) {
            self.close(out);
            let at = self.output.len();
            let item = item_name("msg", &self.id, at);
            let shown = json!({
                "id": item, "type": "message", "role": "assistant", "status": "in_progress", "content": [],
            });
            self.event("response.output_item.added", json!({"output_index": at, "item": shown}), out);
            let part = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
            let added = json!({"item_id": item, "output_index": at, "content_index": 0, "part": part});
            self.event("response.content_part.added", added, out);
            self.open = Some(Open::Text { item, text: String::new() });
        }
        let at = self.output.len();
        if let Some(Open::Text { item, text }) = &mut self.open {
            text.push_str(more);
            let data = json!({
                "item_id": item, "output_index": at, "content_index": 0, "delta": more, "logprobs": [],
            });
            self.event("response.output_text.delta", data, out);
        }
    }
}
