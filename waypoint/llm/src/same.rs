//! Streams whose protocol is the caller's own: events pass as they are, but for what must change: text that a guard
//! masks, and usage that the caller did not ask to be told.

use std::collections::BTreeMap;

use mesh::Denial;
use serde_json::{Value, json};

use crate::{operation::Dialect, watch::Guarded};

/// Most channels of text in one answer; a further one ends it.
pub const CHANNELS_MAX: usize = 4096;

/// What becomes of one event.
#[derive(Debug, PartialEq)]
pub enum Edited {
    /// It passes as it stood.
    Same,
    /// Nothing of it passes.
    Nothing,
    /// These pass in its place, in this order.
    Others(Vec<Value>),
}

/// Edits the events of one stream.
pub struct Editor {
    dialect: Dialect,
    tells_usage: bool,
    // The channels that may hold something back, and an event that carries more of them.
    channels: BTreeMap<String, Value>,
}

impl Editor {
    /// For a caller of this API that asked to be told what was used, or did not.
    pub fn new(dialect: Dialect, tells_usage: bool) -> Self {
        Self { dialect, tells_usage, channels: BTreeMap::new() }
    }

    /// Edits one event. `None` in the error: the answer has too many channels.
    ///
    /// # Errors
    /// When a guard refuses.
    pub fn edit(&mut self, data: &Value, guard: Option<&mut Guarded>) -> Result<Edited, Option<Denial>> {
        let mut new = data.clone();
        let mut changed = false;
        if self.dialect == Dialect::Chat && !self.tells_usage {
            let empty = new.get("choices").and_then(Value::as_array).is_none_or(Vec::is_empty);
            let usage = new.as_object_mut().and_then(|data| data.shift_remove("usage"));
            changed = usage.is_some();
            if empty && usage.is_some_and(|usage| !usage.is_null()) {
                return Ok(Edited::Nothing);
            }
        }
        let Some(guard) = guard else {
            return Ok(if changed { Edited::Others(vec![new]) } else { Edited::Same });
        };
        let mut out = match self.dialect {
            Dialect::Chat => self.chat(&mut new, guard)?,
            Dialect::Messages => self.messages(&mut new, guard)?,
            Dialect::Responses => self.responses(&mut new, guard)?,
        };
        if out.is_empty() && !changed && new == *data {
            return Ok(Edited::Same);
        }
        out.push(new);
        Ok(Edited::Others(out))
    }

    /// What is still held back when the stream ends: events that carry it.
    ///
    /// # Errors
    /// When a guard refuses.
    pub fn end(&mut self, guard: &mut Guarded) -> Result<Vec<Value>, Denial> {
        self.flush("", guard)
    }

    fn flush(&mut self, prefix: &str, guard: &mut Guarded) -> Result<Vec<Value>, Denial> {
        let ended: Vec<String> = self.channels.keys().filter(|it| it.starts_with(prefix)).cloned().collect();
        let mut out = Vec::new();
        for channel in ended {
            let Some(mut event) = self.channels.remove(&channel) else { continue };
            let rest = guard.end(&channel)?;
            if !rest.is_empty() {
                put(&mut event, &rest);
                out.push(event);
            }
        }
        Ok(out)
    }

    /// More text of a channel. `carrier` is an event that carries text of it where it says [`HERE`].
    fn text(
        &mut self,
        channel: String,
        text: &mut Value,
        guard: &mut Guarded,
        carrier: impl FnOnce() -> Value,
    ) -> Result<(), Option<Denial>> {
        let Some(said) = text.as_str() else { return Ok(()) };
        let may = guard.text(&channel, said).map_err(Some)?;
        if !self.channels.contains_key(&channel) {
            if self.channels.len() >= CHANNELS_MAX {
                return Err(None);
            }
            self.channels.insert(channel, carrier());
        }
        *text = Value::String(may);
        Ok(())
    }

    fn chat(&mut self, data: &mut Value, guard: &mut Guarded) -> Result<Vec<Value>, Option<Denial>> {
        const TEXTS: [&str; 4] = ["content", "refusal", "reasoning_content", "reasoning"];
        let mut envelope = data.clone();
        if let Some(envelope) = envelope.as_object_mut() {
            envelope.shift_remove("usage");
        }
        let mut before = Vec::new();
        let Some(choices) = data.get_mut("choices").and_then(Value::as_array_mut) else { return Ok(before) };
        for choice in choices {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let carrier = |delta: Value| {
                let mut event = envelope.clone();
                event["choices"] = json!([{"index": index, "delta": delta, "finish_reason": null}]);
                event
            };
            let ends = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
            if let Some(delta) = choice.get_mut("delta").and_then(Value::as_object_mut) {
                for (key, value) in delta.iter_mut() {
                    match key.as_str() {
                        "role" => {}
                        key if TEXTS.contains(&key) => {
                            let channel = format!("{index}/{key}");
                            self.text(channel, value, guard, || carrier(json!({key: HERE})))?;
                        }
                        "tool_calls" => {
                            for call in value.as_array_mut().into_iter().flatten() {
                                let slot = call.get("index").and_then(Value::as_u64).unwrap_or(0);
                                let Some(arguments) = call.pointer_mut("/function/arguments") else {
                                    continue;
                                };
                                let delta = || json!({"tool_calls": [{"index": slot, "function": {"arguments": HERE}}]});
                                let channel = format!("{index}/tool/{slot}");
                                self.text(channel, arguments, guard, || carrier(delta()))?;
                            }
                        }
                        "function_call" => {
                            if let Some(arguments) = value.get_mut("arguments") {
                                let delta = || json!({"function_call": {"arguments": HERE}});
                                let channel = format!("{index}/function");
                                self.text(channel, arguments, guard, || carrier(delta()))?;
                            }
                        }
                        _ => guard.whole(value).map_err(Some)?,
                    }
                }
            }
            if ends {
                before.extend(self.flush(&format!("{index}/"), guard).map_err(Some)?);
            }
        }
        Ok(before)
    }

    fn messages(&mut self, data: &mut Value, guard: &mut Guarded) -> Result<Vec<Value>, Option<Denial>> {
        let index = data.get("index").and_then(Value::as_u64).unwrap_or(0);
        match data.get("type").and_then(Value::as_str).unwrap_or_default() {
            "content_block_delta" => {
                let kind = data.pointer("/delta/type").and_then(Value::as_str).unwrap_or_default().to_owned();
                let field = match kind.as_str() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    "input_json_delta" => "partial_json",
                    _ => {
                        if let Some(delta) = data.get_mut("delta") {
                            guard.whole(delta).map_err(Some)?;
                        }
                        return Ok(Vec::new());
                    }
                };
                if let Some(text) = data.pointer_mut(&format!("/delta/{field}")) {
                    let delta = json!({"type": kind, field: HERE});
                    let carrier = json!({"type": "content_block_delta", "index": index, "delta": delta});
                    self.text(format!("{index}/{field}"), text, guard, || carrier)?;
                }
                Ok(Vec::new())
            }
            "content_block_stop" => self.flush(&format!("{index}/"), guard).map_err(Some),
            "message_delta" | "message_stop" => self.flush("", guard).map_err(Some),
            "content_block_start" | "message_start" => {
                guard.whole(data).map_err(Some)?;
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn responses(&mut self, data: &mut Value, guard: &mut Guarded) -> Result<Vec<Value>, Option<Denial>> {
        let kind = data.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let place = |data: &Value| {
            let number = |field: &str| data.get(field).and_then(Value::as_u64).unwrap_or(0);
            let part = number("content_index").max(number("summary_index"));
            format!("{}/{part}", number("output_index"))
        };
        if let Some(stem) =
            kind.strip_suffix(".delta").filter(|_| data.get("delta").is_some_and(Value::is_string))
        {
            let channel = format!("{stem}/{}/", place(data));
            let mut carrier = data.clone();
            carrier["delta"] = json!(HERE);
            if let Some(text) = data.get_mut("delta") {
                self.text(channel, text, guard, || carrier)?;
            }
            return Ok(Vec::new());
        }
        let before = match kind.strip_suffix(".done") {
            Some(stem) => self.flush(&format!("{stem}/{}/", place(data)), guard).map_err(Some)?,
            None if matches!(
                kind.as_str(),
                "response.completed" | "response.incomplete" | "response.failed"
            ) =>
            {
                self.flush("", guard).map_err(Some)?
            }
            None => Vec::new(),
        };
        // Whole texts stand in these once more.
        guard.whole(data).map_err(Some)?;
        Ok(before)
    }
}

/// Stands where the text of a channel goes.
const HERE: &str = "\u{0}here";

fn put(value: &mut Value, text: &str) -> bool {
    match value {
        Value::String(here) if here == HERE => {
            text.clone_into(here);
            true
        }
        Value::Array(items) => items.iter_mut().any(|item| put(item, text)),
        Value::Object(object) => object.iter_mut().any(|(_, item)| put(item, text)),
        _ => false,
    }
}
