//! A stream of server-sent events from a server to a caller: each message is judged when it passes.

use bytes::Bytes;
use exchange::{
    Messages, Passage,
    json::{self, Keys},
    sse::Event,
};
use mesh::{
    Denial,
    facts::{McpFacts, McpObject},
};
use serde_json::{Value, json};

use crate::{
    gate::Gate,
    listing,
    message::Id,
    post::{self, Posts},
    rejection::{FORBIDDEN, INTERNAL_ERROR, error_body},
    scope::Scope,
};

/// A server's side of one exchange.
pub(crate) struct Stream {
    scope: Scope,
    gate: Gate,
    // The request that the stream answers, until it is answered.
    request: Option<Id>,
    // Whether an answer on it may carry a list.
    lists: bool,
    // Where messages are posted, if the server says so.
    posts: Option<Posts>,
}

impl Stream {
    /// The stream that answers a request, or one that stands by itself.
    pub(crate) fn new(
        scope: Scope,
        gate: Gate,
        request: Option<Id>,
        lists: bool,
        posts: Option<Posts>,
    ) -> Self {
        Self { scope, gate, request, lists, posts }
    }

    /// The last event of a stream that ends before its time.
    fn error(&self, code: i64, message: &str, data: Option<Value>) -> Bytes {
        let id = self.request.as_ref().map(Id::value);
        let body = error_body(id, code, message, data);
        let data = String::from_utf8_lossy(&body).into_owned();
        Event { name: Some("message".to_owned()), data: Some(data), ..Event::default() }.encode()
    }

    fn unreadable(&self) -> Passage {
        if self.lists {
            self.scope.failed("an event that may carry a list cannot be read for certain");
            Passage::End(Some(self.error(INTERNAL_ERROR, "The server's answer cannot be read", None)))
        } else {
            Passage::Pass
        }
    }

    /// A change of a resource that is hidden is hidden too.
    fn hides(&self, message: &Value) -> bool {
        message.get("method").and_then(Value::as_str) == Some("notifications/resources/updated")
            && !message.pointer("/params/uri").and_then(Value::as_str).is_some_and(|uri| {
                let object = McpObject::Resource { uri: uri.into() };
                self.scope.shows(McpFacts { method: "resources/read".into(), object })
            })
    }
}

impl Messages for Stream {
    fn message(&mut self, block: &Bytes) -> Passage {
        let Ok(event) = Event::parse(block) else { return self.unreadable() };
        let Some(data) = event.data.as_deref().filter(|data| !data.trim().is_empty()) else {
            return Passage::Pass;
        };
        if event.name.as_deref() == Some(post::EVENT)
            && let Some(posts) = &self.posts
        {
            let Some(place) = posts.place(data) else { return self.unreadable() };
            return Passage::Replace(Event { data: Some(place), ..event }.encode());
        }
        let Ok(message) = json::parse_answer(data.as_bytes(), Keys::Equal) else { return self.unreadable() };
        if self.hides(&message) {
            return Passage::Drop;
        }
        let answer = message.get("result").is_some() || message.get("error").is_some();
        let filtered = if self.lists && (answer || message.is_array()) {
            listing::filter(data.as_bytes(), |facts, entry| self.gate.passes(facts, entry))
        } else {
            Ok(None)
        };
        let passage = match filtered {
            Ok(None) => Passage::Pass,
            Ok(Some(other)) => {
                let data = Some(String::from_utf8_lossy(&other).into_owned());
                Passage::Replace(Event { data, ..event }.encode())
            }
            Err(_) => self.unreadable(),
        };
        if answer && self.request.is_some() && message.get("id").and_then(Id::from_value) == self.request {
            self.request = None;
            // What follows an answer answers nothing; the stream is still looked through.
        }
        passage
    }

    fn closed(&mut self, denial: &Denial) -> Option<Bytes> {
        let id = self.scope.refused(denial);
        Some(self.error(FORBIDDEN, "No longer allowed", Some(json!({"id": id}))))
    }
}
