//! Looks at the messages of an event stream, one by one, and at texts that are cut over several of them.
//!
//! A message is masked or refused whole before it goes on. Texts under the same name ([`TEXTS`]) of messages that follow
//! each other are looked at joined: what is found only across a cut has partly gone on already, so there the stream
//! ends.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use exchange::{Messages, Passage, sse::Event};
use mesh::{Denial, Reason, resource::Direction};
use serde_json::{Value, json};

use crate::{
    compile::Rules,
    json::{Outcome, is_json},
    watch::REACH,
};

/// Names of members that hold text which can go on in the next message.
const TEXTS: [&str; 14] = [
    "text",
    "content",
    "delta",
    "data",
    "partial_json",
    "arguments",
    "output",
    "message",
    "value",
    "thinking",
    "reasoning",
    "reasoning_content",
    "refusal",
    "input",
];
/// Members by which texts under the same name are told apart.
const INDEXES: [&str; 5] = ["index", "id", "artifactId", "output_index", "content_index"];
/// Most texts that are joined at a time; beyond it the one that waited longest is forgotten.
const JOINED_MAX: usize = 256;
/// Depth to which texts are looked for.
const DEPTH_MAX: usize = 32;

/// Records a refusal and says its id.
type Record = Box<dyn FnMut(&Denial) -> Arc<str> + Send>;

/// Looks at one stream of answers.
pub struct Stream {
    rules: Rules,
    record: Record,
    shadow: Box<dyn FnMut(&Denial) + Send>,
    // The JSON-RPC id of the request that is answered.
    answers: Option<Value>,
    joined: BTreeMap<String, (String, u64)>,
    count: u64,
}

impl Stream {
    /// Looks at answers; a refusal is recorded and answers the request with this JSON-RPC id, if it has one.
    pub fn new(
        rules: Rules,
        answers: Option<Value>,
        record: Record,
        shadow: Box<dyn FnMut(&Denial) + Send>,
    ) -> Self {
        Self { rules, record, shadow, answers, joined: BTreeMap::new(), count: 0 }
    }

    /// What goes on in the place of a message.
    ///
    /// # Errors
    /// Why it, and what follows, may not.
    pub(crate) fn judge(&mut self, message: &Bytes) -> Result<Passage, Denial> {
        const DIRECTION: Direction = Direction::Response;
        if let Some(denial) = self.rules.broken() {
            return Err(denial);
        }
        if message.len() > self.rules.bytes_max(DIRECTION) {
            return Err(self.rules.too_large(DIRECTION));
        }
        let unreadable = |rules: &Rules, what: &str| {
            if rules.enforces(DIRECTION) { Err(rules.unreadable(DIRECTION, what)) } else { Ok(Passage::Pass) }
        };
        let Ok(mut event) = Event::parse(message) else {
            return unreadable(&self.rules, "a message is not UTF-8");
        };
        for field in [&event.name, &event.id, &event.retry].into_iter().flatten() {
            let found = self.rules.look(field, DIRECTION);
            if let Some(denial) = found.refused.into_iter().map(|(_, denial)| denial).next() {
                return Err(denial);
            }
            if !found.masks.is_empty() {
                return unreadable(&self.rules, "a field of an event has what cannot be masked there");
            }
        }
        let Some(data) = &event.data else {
            // Comments keep a connection open; what they say is nobody's content.
            return Ok(Passage::Replace(Bytes::from_static(b":\n\n"))).map(|silent| {
                if event.id.is_some() || event.name.is_some() || event.retry.is_some() {
                    Passage::Replace(event.encode())
                } else {
                    silent
                }
            });
        };
        let outcome = self.look(data);
        outcome.shadows.iter().for_each(|shadow| (self.shadow)(shadow));
        if let Some(denial) = outcome.refused {
            return Err(denial);
        }
        let data = data.clone();
        self.join(&data)?;
        let plain = outcome.changed.is_none() && !has_more(message);
        if let Some(changed) = outcome.changed {
            event.data = Some(changed);
        }
        Ok(if plain { Passage::Pass } else { Passage::Replace(event.encode()) })
    }

    fn look(&self, data: &str) -> Outcome {
        if is_json(data) {
            self.rules.look_json(data, Direction::Response)
        } else {
            self.rules.look(data, Direction::Response).into_outcome(data)
        }
    }

    /// Looks at the texts of a message, each joined with what came before it under its name.
    fn join(&mut self, data: &str) -> Result<(), Denial> {
        self.count += 1;
        let Ok(value) = serde_json::from_str::<Value>(data) else {
            return self.join_one("", data);
        };
        let mut texts = Vec::new();
        collect(&value, &mut String::new(), false, 0, &mut texts);
        for (path, text) in texts {
            self.join_one(&path, &text)?;
        }
        Ok(())
    }

    fn join_one(&mut self, path: &str, text: &str) -> Result<(), Denial> {
        let before = self.joined.remove(path).map(|(before, _)| before).unwrap_or_default();
        let cut = before.len();
        let joined = before + text;
        if cut > 0 {
            let found = self.rules.look(&joined, Direction::Response);
            found.shadows.iter().for_each(|shadow| (self.shadow)(shadow));
            let over = |start: usize, end: usize| start < cut && cut < end;
            if let Some((_, denial)) =
                found.refused.into_iter().find(|(range, _)| over(range.start, range.end))
            {
                return Err(denial);
            }
            if found.masks.iter().any(|(range, _)| over(range.start, range.end)) {
                let text = "what is found is cut over several messages, and part of it has gone on";
                let denial = self.rules.unreadable(Direction::Response, text);
                return Err(Denial { reason: Reason::GuardRefused, ..denial });
            }
        }
        if self.joined.len() >= JOINED_MAX
            && let Some(oldest) =
                self.joined.iter().min_by_key(|(_, (_, seen))| *seen).map(|(path, _)| path.clone())
        {
            self.joined.remove(&oldest);
        }
        let mut from = joined.len().saturating_sub(REACH);
        while !joined.is_char_boundary(from) {
            from += 1;
        }
        self.joined.insert(path.to_owned(), (joined[from..].to_owned(), self.count));
        Ok(())
    }

    /// The last message of a stream that ends by a refusal.
    pub(crate) fn last(&mut self, denial: &Denial) -> Bytes {
        let id = (self.record)(denial);
        let (name, data) = match &self.answers {
            Some(request) => (None, rpc_error(request, denial, &id)),
            None => (Some("error".to_owned()), plain_error(denial, &id)),
        };
        Event { name, data: Some(data.to_string()), ..Event::default() }.encode()
    }
}

/// True if a message has lines that an event does not keep: comments and fields that nobody knows.
fn has_more(message: &[u8]) -> bool {
    let lines = message.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty());
    let known = [&b"data"[..], b"event", b"id", b"retry"];
    lines.into_iter().any(|line| {
        let field = line.split(|byte| *byte == b':').next().unwrap_or_default();
        !known.contains(&field)
    })
}

/// What a JSON-RPC request is answered whose answer was refused.
pub(crate) fn rpc_error(request: &Value, denial: &Denial, id: &Arc<str>) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": request,
        "error": {"code": 403, "message": denial.reason.name(), "data": {"id": id, "reason": denial.reason.name()}},
    })
}

fn plain_error(denial: &Denial, id: &Arc<str>) -> Value {
    json!({"error": {"type": "guard", "code": denial.reason.name(), "message": "a guard refused the answer", "id": id}})
}

fn collect(value: &Value, path: &mut String, text: bool, depth: usize, texts: &mut Vec<(String, String)>) {
    if depth > DEPTH_MAX || texts.len() >= JOINED_MAX {
        return;
    }
    let length = path.len();
    match value {
        Value::String(string) if text => texts.push((path.clone(), string.clone())),
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                path.push_str(&format!("/{index}"));
                collect(item, path, text, depth + 1, texts);
                path.truncate(length);
            }
        }
        Value::Object(members) => {
            for name in INDEXES {
                match members.get(name) {
                    Some(Value::Number(index)) => path.push_str(&format!("#{index}")),
                    Some(Value::String(index)) if index.len() <= 64 && name == "artifactId" => {
                        path.push_str(&format!("#{index}"));
                    }
                    _ => {}
                }
            }
            let named = path.len();
            for (name, member) in members {
                path.push('/');
                path.push_str(name);
                collect(member, path, TEXTS.contains(&name.as_str()), depth + 1, texts);
                path.truncate(named);
            }
        }
        _ => {}
    }
    path.truncate(length);
}

impl Messages for Stream {
    fn message(&mut self, message: &Bytes) -> Passage {
        match self.judge(message) {
            Ok(passage) => passage,
            Err(denial) => Passage::End(Some(self.last(&denial))),
        }
    }

    fn closed(&mut self, _: &Denial) -> Option<Bytes> {
        // Whoever made the stream ends it well-formed, and that passes through here.
        None
    }
}
