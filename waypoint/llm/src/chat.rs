//! OpenAI's chat completions, to and from the neutral form.

use serde_json::{Value, json};

use crate::{
    json::{self, Object},
    neutral::{
        Answer, AnswerPart, Choice, Image, NotTranslatable, Part, Piece, Prompt, Role, Stop, Tool, Turn,
        Usage,
    },
};

/// Fields that only say how the provider keeps or bills what is asked, not what is answered.
const IDLE: [&str; 7] = [
    "stream_options",
    "metadata",
    "store",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
];

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
            _ if value.is_null() || IDLE.contains(&field.as_str()) => {}
            "messages" => messages(value, &mut prompt)?,
            "tools" => {
                for (at, tool) in value.as_array().ok_or_else(bad)?.iter().enumerate() {
                    prompt
                        .tools
                        .push(self::tool(tool).ok_or_else(|| NotTranslatable::at(format!("tools[{at}]")))?);
                }
            }
            "tool_choice" => {
                prompt.choice = Some(choice(value, |it| it.pointer("/function/name")).ok_or_else(bad)?)
            }
            "parallel_tool_calls" => prompt.parallel = Some(value.as_bool().ok_or_else(bad)?),
            "max_tokens" | "max_completion_tokens" => {
                let most = value.as_u64().ok_or_else(bad)?;
                prompt.output_most = Some(prompt.output_most.map_or(most, |other| other.min(most)));
            }
            "temperature" => prompt.temperature = Some(value.as_f64().ok_or_else(bad)?),
            "top_p" => prompt.top_p = Some(value.as_f64().ok_or_else(bad)?),
            "stop" => prompt.stop = texts(value).ok_or_else(bad)?,
            "stream" => prompt.stream = value.as_bool().ok_or_else(bad)?,
            "user" => prompt.user = Some(value.as_str().ok_or_else(bad)?.to_owned()),
            // These say what is so anyway.
            "n" if value == 1 => {}
            "logprobs" if value == false => {}
            "presence_penalty" | "frequency_penalty" if value.as_f64() == Some(0.0) => {}
            "logit_bias" if value.as_object().is_some_and(Object::is_empty) => {}
            "response_format" if value.get("type") == Some(&json!("text")) => {}
            "modalities" if *value == json!(["text"]) => {}
            _ => {
                prompt.rest.insert(field.clone(), value.clone());
            }
        }
    }
    Ok(prompt)
}

/// A text, or a list of texts.
pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// `auto`, `none`, `required`, or the name of a function, which stands where `named` looks.
pub(crate) fn choice(value: &Value, named: impl Fn(&Value) -> Option<&Value>) -> Option<Choice> {
    match value {
        Value::String(word) => match word.as_str() {
            "auto" => Some(Choice::Auto),
            "none" => Some(Choice::None),
            "required" => Some(Choice::Required),
            _ => None,
        },
        _ if value.get("type") == Some(&json!("function")) => {
            Some(Choice::Named(named(value)?.as_str()?.to_owned()))
        }
        _ => None,
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    if tool.get("type")?.as_str()? != "function" {
        return None;
    }
    function(tool.get("function")?.as_object()?, &[])
}

/// A function as OpenAI describes it; `known` are fields beside those of a function.
pub(crate) fn function(function: &Object, known: &[&str]) -> Option<Tool> {
    const FIELDS: [&str; 4] = ["name", "description", "parameters", "strict"];
    let strange = |(field, value): (&String, &Value)| {
        !FIELDS.contains(&field.as_str()) && !known.contains(&field.as_str()) && !value.is_null()
    };
    if function.iter().any(strange) {
        return None;
    }
    Some(Tool {
        name: json::text(function, "name")?.to_owned(),
        description: json::text(function, "description").map(str::to_owned),
        schema: match function.get("parameters") {
            None | Some(Value::Null) => json!({"type": "object", "properties": {}}),
            Some(schema) => schema.clone(),
        },
        strict: function.get("strict").and_then(Value::as_bool),
    })
}

fn messages(value: &Value, prompt: &mut Prompt) -> Result<(), NotTranslatable> {
    let list = value.as_array().ok_or_else(|| NotTranslatable::at("messages"))?;
    for (at, message) in list.iter().enumerate() {
        let path = format!("messages[{at}]");
        let message = message.as_object().ok_or_else(|| NotTranslatable::at(&path))?;
        let role = json::text(message, "role").unwrap_or_default();
        let known: &[&str] = match role {
            "assistant" => &["role", "content", "tool_calls"],
            "tool" => &["role", "content", "tool_call_id"],
            _ => &["role", "content"],
        };
        let strange =
            |(field, value): (&String, &Value)| !known.contains(&field.as_str()) && !is_empty(value);
        if let Some((field, _)) = message.iter().find(|entry| strange(*entry)) {
            return Err(NotTranslatable::at(format!("{path}.{field}")));
        }
        let content = message.get("content").unwrap_or(&Value::Null);
        let within = format!("{path}.content");
        match role {
            // The others know instructions only before the conversation.
            "system" | "developer" if prompt.turns.is_empty() => {
                for part in parts(content, &within)? {
                    match part {
                        Part::Text(text) => prompt.system.push(text),
                        _ => return Err(NotTranslatable::at(within)),
                    }
                }
            }
            "user" => turn(prompt, Role::User, parts(content, &within)?),
            "assistant" => {
                let mut said = parts(content, &within)?;
                for (at, call) in json::list(message, "tool_calls").iter().enumerate() {
                    let path = format!("{path}.tool_calls[{at}]");
                    said.push(self::call(call).ok_or_else(|| NotTranslatable::at(path))?);
                }
                turn(prompt, Role::Assistant, said);
            }
            "tool" => {
                let id = json::text(message, "tool_call_id");
                let id = id.ok_or_else(|| NotTranslatable::at(format!("{path}.tool_call_id")))?;
                outcome(prompt, id, parts(content, &within)?, false);
            }
            _ => return Err(NotTranslatable::at(format!("{path}.role"))),
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn turn(prompt: &mut Prompt, role: Role, parts: Vec<Part>) {
    if !parts.is_empty() {
        prompt.turns.push(Turn { role, parts });
    }
}

/// What a tool answered. The outcomes of several calls of one turn are one turn.
pub(crate) fn outcome(prompt: &mut Prompt, id: &str, parts: Vec<Part>, failed: bool) {
    let outcome = Part::Outcome { id: id.to_owned(), parts, failed };
    match prompt.turns.last_mut() {
        Some(last)
            if last.role == Role::User
                && last.parts.iter().all(|part| matches!(part, Part::Outcome { .. })) =>
        {
            last.parts.push(outcome);
        }
        _ => prompt.turns.push(Turn { role: Role::User, parts: vec![outcome] }),
    }
}

fn parts(content: &Value, path: &str) -> Result<Vec<Part>, NotTranslatable> {
    match content {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Part::Text(text.clone())]),
        Value::Array(list) => {
            let part = |(at, it): (usize, &Value)| {
                part(it).ok_or_else(|| NotTranslatable::at(format!("{path}[{at}]")))
            };
            list.iter().enumerate().map(part).collect()
        }
        _ => Err(NotTranslatable::at(path)),
    }
}

fn part(part: &Value) -> Option<Part> {
    match part.get("type")?.as_str()? {
        "text" => Some(Part::Text(part.get("text")?.as_str()?.to_owned())),
        "image_url" => Image::of(part.pointer("/image_url/url")?.as_str()?).map(Part::Image),
        _ => None,
    }
}

fn call(call: &Value) -> Option<Part> {
    if call.get("type").is_some_and(|kind| kind != "function") {
        return None;
    }
    Some(Part::Call {
        id: call.get("id")?.as_str()?.to_owned(),
        name: call.pointer("/function/name")?.as_str()?.to_owned(),
        arguments: arguments(call.pointer("/function/arguments")?.as_str()?)?,
    })
}

/// The arguments of a call, which OpenAI writes as text and others as an object.
pub(crate) fn arguments(text: &str) -> Option<Object> {
    if text.trim().is_empty() { Some(Object::new()) } else { json::object(text.as_bytes()).ok() }
}

/// Writes a request.
///
/// # Errors
/// When something in it has no form here.
pub fn request(prompt: &Prompt, model: &str) -> Result<Object, NotTranslatable> {
    if let Some((field, _)) = prompt.rest.iter().next() {
        return Err(NotTranslatable::at(field));
    }
    let mut list = Vec::new();
    for text in &prompt.system {
        list.push(json!({"role": "system", "content": text}));
    }
    for (at, turn) in prompt.turns.iter().enumerate() {
        write_turn(turn, &mut list).ok_or_else(|| NotTranslatable::at(format!("messages[{at}].content")))?;
    }
    let mut out = json::map(json!({"model": model, "messages": list}));
    if !prompt.tools.is_empty() {
        let tools = prompt.tools.iter().map(|tool| {
            let mut function = json!({"name": tool.name, "parameters": tool.schema});
            if let Some(description) = &tool.description {
                function["description"] = json!(description);
            }
            if let Some(strict) = tool.strict {
                function["strict"] = json!(strict);
            }
            json!({"type": "function", "function": function})
        });
        out.insert("tools".into(), tools.collect());
    }
    if let Some(choice) = &prompt.choice {
        let choice = match choice {
            Choice::Auto => json!("auto"),
            Choice::None => json!("none"),
            Choice::Required => json!("required"),
            Choice::Named(name) => json!({"type": "function", "function": {"name": name}}),
        };
        out.insert("tool_choice".into(), choice);
    }
    let mut put = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            out.insert(field.to_owned(), value);
        }
    };
    put("parallel_tool_calls", prompt.parallel.filter(|_| !prompt.tools.is_empty()).map(Value::from));
    put(output_field(model), prompt.output_most.map(Value::from));
    put("temperature", prompt.temperature.map(Value::from));
    put("top_p", prompt.top_p.map(Value::from));
    put("stop", (!prompt.stop.is_empty()).then(|| json!(prompt.stop)));
    put("user", prompt.user.clone().map(Value::from));
    put("stream", prompt.stream.then(|| json!(true)));
    Ok(out)
}

/// The field that limits the output. Models that reason refuse the old one; servers of other makers know only the
/// old one.
pub fn output_field(model: &str) -> &'static str {
    let name = model.rsplit('/').next().unwrap_or(model);
    let reasons = ["o1", "o3", "o4", "gpt-5", "gpt-6"].iter().any(|begin| name.starts_with(begin));
    if reasons { "max_completion_tokens" } else { "max_tokens" }
}

fn write_turn(turn: &Turn, list: &mut Vec<Value>) -> Option<()> {
    let mut content = Vec::new();
    let mut calls = Vec::new();
    for part in &turn.parts {
        match (part, turn.role) {
            (Part::Text(text), _) => content.push(json!({"type": "text", "text": text})),
            (Part::Image(image), Role::User) => {
                content.push(json!({"type": "image_url", "image_url": {"url": image.url()}}));
            }
            (Part::Call { id, name, arguments }, Role::Assistant) => {
                let arguments = Value::Object(arguments.clone()).to_string();
                let function = json!({"name": name, "arguments": arguments});
                calls.push(json!({"id": id, "type": "function", "function": function}));
            }
            // What tools answered stands in messages of its own, before what the user says of it.
            (Part::Outcome { id, parts, failed }, Role::User) if content.is_empty() => {
                let mut text = if *failed { "Error: ".to_owned() } else { String::new() };
                for part in parts {
                    match part {
                        Part::Text(more) => text.push_str(more),
                        _ => return None,
                    }
                }
                list.push(json!({"role": "tool", "tool_call_id": id, "content": text}));
            }
            _ => return None,
        }
    }
    let content = match content.as_slice() {
        [] => Value::Null,
        [only] if only.get("text").is_some() => only["text"].clone(),
        _ => Value::Array(content),
    };
    match turn.role {
        Role::User if content.is_null() => {}
        Role::User => list.push(json!({"role": "user", "content": content})),
        Role::Assistant => {
            let mut message = json!({"role": "assistant", "content": content});
            if !calls.is_empty() {
                message["tool_calls"] = Value::Array(calls);
            }
            list.push(message);
        }
    }
    Some(())
}

/// Reads an answer. `None`: it is none.
pub fn answer(answer: &Object) -> Option<Answer> {
    let choice = json::list(answer, "choices").first()?;
    let message = choice.get("message")?.as_object()?;
    let mut parts = Vec::new();
    for field in ["reasoning_content", "reasoning"] {
        if let Some(text) = json::text(message, field).filter(|text| !text.is_empty()) {
            parts.push(AnswerPart::Reasoning(text.to_owned()));
            break;
        }
    }
    for field in ["content", "refusal"] {
        if let Some(text) = json::text(message, field).filter(|text| !text.is_empty()) {
            parts.push(AnswerPart::Text(text.to_owned()));
        }
    }
    for call in json::list(message, "tool_calls") {
        parts.push(AnswerPart::Call {
            id: call.get("id")?.as_str()?.to_owned(),
            name: call.pointer("/function/name")?.as_str()?.to_owned(),
            arguments: call.pointer("/function/arguments")?.as_str()?.to_owned(),
        });
    }
    Some(Answer {
        id: json::text(answer, "id").unwrap_or_default().to_owned(),
        model: json::text(answer, "model").unwrap_or_default().to_owned(),
        parts,
        stop: stop(choice.get("finish_reason").and_then(Value::as_str)),
        usage: answer.get("usage").and_then(usage),
    })
}

fn stop(reason: Option<&str>) -> Stop {
    match reason {
        Some("length") => Stop::Length,
        Some("tool_calls" | "function_call") => Stop::Call,
        Some("content_filter") => Stop::Refused,
        _ => Stop::Complete,
    }
}

/// Reads what was used. `None`: it does not say it, or says what cannot be.
pub fn usage(usage: &Value) -> Option<Usage> {
    let input = usage.get("prompt_tokens")?.as_u64()?;
    let output = match usage.get("completion_tokens") {
        // Embeddings have none.
        None | Some(Value::Null) => 0,
        Some(output) => output.as_u64()?,
    };
    let cached = usage.pointer("/prompt_tokens_details/cached_tokens").and_then(Value::as_u64).unwrap_or(0);
    // Some providers count reasoning apart, and only their total tells.
    let total = usage.get("total_tokens").and_then(Value::as_u64).unwrap_or(0);
    let output = output.max(total.saturating_sub(input));
    Some(Usage { input, output, cached })
}

/// Writes what was used.
pub fn write_usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    })
}

fn finish_reason(stop: &Stop) -> &'static str {
    match stop {
        Stop::Complete | Stop::Text(_) => "stop",
        Stop::Length => "length",
        Stop::Call => "tool_calls",
        Stop::Refused => "content_filter",
    }
}

/// Writes an answer.
pub fn write_answer(answer: &Answer, created: u64) -> Value {
    let mut text = None::<String>;
    let mut reasoning = None::<String>;
    let mut calls = Vec::new();
    for part in &answer.parts {
        match part {
            AnswerPart::Text(more) => text.get_or_insert_default().push_str(more),
            AnswerPart::Reasoning(more) => reasoning.get_or_insert_default().push_str(more),
            AnswerPart::Call { id, name, arguments } => calls.push(
                json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}),
            ),
        }
    }
    let mut message = json!({"role": "assistant", "content": text, "refusal": null});
    if let Some(reasoning) = reasoning {
        message["reasoning_content"] = json!(reasoning);
    }
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    let reason = finish_reason(&answer.stop);
    let mut out = json!({
        "id": answer.id,
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}],
    });
    if let Some(usage) = answer.usage {
        out["usage"] = write_usage(usage);
    }
    out
}

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Reader {
    started: bool,
}

impl Reader {
    /// Reads the data of one event.
    pub fn read(&mut self, data: &Value) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if let Some(error) = data.get("error").filter(|error| !error.is_null()) {
            let text = |field: &str| error.get(field).and_then(Value::as_str).map(str::to_owned);
            pieces.push(Piece::Error {
                kind: text("type").unwrap_or_else(|| "server_error".to_owned()),
                message: text("message").unwrap_or_default(),
            });
            return pieces;
        }
        let Some(data) = data.as_object() else { return pieces };
        if !self.started {
            self.started = true;
            let text = |field: &str| json::text(data, field).unwrap_or_default().to_owned();
            pieces.push(Piece::Start { id: text("id"), model: text("model") });
        }
        for choice in json::list(data, "choices") {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            if let Some(delta) = choice.get("delta").and_then(Value::as_object) {
                read_delta(index, delta, &mut pieces);
            }
            if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
                pieces.push(Piece::Stop(stop(Some(reason))));
            }
        }
        pieces.extend(data.get("usage").and_then(usage).map(Piece::Usage));
        pieces
    }
}

fn read_delta(choice: u64, delta: &Object, pieces: &mut Vec<Piece>) {
    for field in ["reasoning_content", "reasoning"] {
        if let Some(text) = json::text(delta, field).filter(|text| !text.is_empty()) {
            pieces.push(Piece::Reasoning(text.to_owned()));
            break;
        }
    }
    for field in ["content", "refusal"] {
        if let Some(text) = json::text(delta, field).filter(|text| !text.is_empty()) {
            pieces.push(Piece::Text { choice, text: text.to_owned() });
        }
    }
    for call in json::list(delta, "tool_calls") {
        let slot = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let text =
            |pointer: &str| call.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(name) = text("/function/name") {
            let id = text("/id").unwrap_or_default().to_owned();
            pieces.push(Piece::Call { slot, id, name: name.to_owned() });
        }
        if let Some(arguments) = text("/function/arguments") {
            pieces.push(Piece::Arguments { slot, text: arguments.to_owned() });
        }
    }
}

/// Writes a stream.
#[derive(Debug)]
pub struct Writer {
    id: String,
    model: String,
    created: u64,
    // Whether the caller asked to be told what was used.
    tells_usage: bool,
    usage: Option<Usage>,
    stopped: bool,
}

impl Writer {
    /// For a caller that asked to be told what was used, or did not.
    pub fn new(created: u64, tells_usage: bool) -> Self {
        Self { id: String::new(), model: String::new(), created, tells_usage, usage: None, stopped: false }
    }

    fn chunk(&self, delta: Value, reason: Option<&str>) -> Value {
        let choices = json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]);
        self.envelope(choices)
    }

    fn envelope(&self, choices: Value) -> Value {
        let mut out = json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        });
        if self.tells_usage {
            out["usage"] = Value::Null;
        }
        out
    }

    /// What one piece is here: the data of events.
    pub fn write(&mut self, piece: &Piece) -> Vec<String> {
        let data = match piece {
            Piece::Start { id, model } => {
                (self.id, self.model) = (id.clone(), model.clone());
                self.chunk(json!({"role": "assistant", "content": ""}), None)
            }
            Piece::Text { text, .. } => self.chunk(json!({"content": text}), None),
            Piece::Reasoning(text) => self.chunk(json!({"reasoning_content": text}), None),
            Piece::Call { slot, id, name } => {
                let function = json!({"name": name, "arguments": ""});
                let call = json!({"index": slot, "id": id, "type": "function", "function": function});
                self.chunk(json!({"tool_calls": [call]}), None)
            }
            Piece::Arguments { slot, text } => {
                let call = json!({"index": slot, "function": {"arguments": text}});
                self.chunk(json!({"tool_calls": [call]}), None)
            }
            Piece::Stop(_) if self.stopped => return Vec::new(),
            Piece::Stop(stop) => {
                self.stopped = true;
                self.chunk(json!({}), Some(finish_reason(stop)))
            }
            Piece::Usage(usage) => {
                self.usage = Some(*usage);
                return Vec::new();
            }
            Piece::Error { kind, message } => error(kind, message, None),
            Piece::End => {
                let mut out = Vec::new();
                if let (true, Some(usage)) = (self.tells_usage, self.usage) {
                    let mut last = self.envelope(json!([]));
                    last["usage"] = write_usage(usage);
                    out.push(last.to_string());
                }
                out.push("[DONE]".to_owned());
                return out;
            }
        };
        vec![data.to_string()]
    }
}

/// An error as OpenAI says it.
pub fn error(kind: &str, message: &str, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}
