//! What a server says, as callers of several servers see it: names and URIs of its things, ids of its requests.

use std::sync::Arc;

use bytes::Bytes;
use mesh::facts::{McpFacts, McpObject};
use serde_json::{Value, value::RawValue};

use exchange::json::{self, Keys};

use crate::{
    id::Id,
    names,
    raw::{self, Edits, Fields},
    scope::Scope,
    seal::{Form, Sealer},
};

/// What a server's message is to the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outward {
    /// The same.
    Keep,
    /// This.
    Other(Bytes),
    /// Nothing: it is hidden, or not meant for callers.
    Drop,
    /// It cannot be read for certain, or named.
    Unreadable,
}

/// Rewrites what one server says.
#[derive(Clone)]
pub(crate) struct Rewriter {
    pub(crate) server: Arc<str>,
    pub(crate) sealer: Arc<Sealer>,
    /// Whose the exchange is: what is sealed here opens for nobody else.
    pub(crate) bound: Arc<str>,
}

impl Rewriter {
    /// The id or token of a server's request, as the caller sees it.
    pub(crate) fn seal_id(&self, id: &Id) -> Option<String> {
        let plain = serde_json::json!([&*self.server, id.value()]).to_string();
        self.sealer.seal_alike(Form::Id, &self.bound, plain.into_bytes())
    }

    /// A server's message. `request` is what the stream answers.
    pub(crate) fn outward(&self, text: &str, scope: &Scope) -> Outward {
        let Ok(message) = json::parse_answer(text.as_bytes(), Keys::Equal) else {
            return Outward::Unreadable;
        };
        let Some(fields) = raw::object(text) else { return Outward::Unreadable };
        let mut edits = Edits::of(text);
        let method = message.get("method").and_then(Value::as_str);
        let good = match (method, message.get("id").filter(|id| !id.is_null())) {
            (Some(_), Some(id)) => self.request(id, &fields, &mut edits),
            (Some("notifications/cancelled"), None) => {
                self.token(&fields, &["params", "requestId"], &mut edits)
            }
            (Some("notifications/resources/updated"), None) => {
                let uri = message.pointer("/params/uri").and_then(Value::as_str);
                let Some(uri) = uri.map(|uri| names::uri_of(&self.server, uri)) else { return Outward::Drop };
                let object = McpObject::Resource { uri: uri.as_str().into() };
                if !scope.shows(McpFacts { method: "resources/read".into(), object }) {
                    return Outward::Drop;
                }
                if let Some(raw) = at(&fields, &["params", "uri"]) {
                    edits.put_text(raw, &uri);
                }
                Some(())
            }
            // The federation says itself what it honours, and when the subscription ends.
            (Some("notifications/subscriptions/acknowledged"), None) => return Outward::Drop,
            (Some(_), None) => Some(()),
            (None, _) => {
                if let Some(result) = fields.get("result") {
                    self.result(result, &mut edits);
                }
                Some(())
            }
        };
        match good {
            None => Outward::Unreadable,
            Some(()) => edits.done().map_or(Outward::Keep, Outward::Other),
        }
    }

    /// A request of the server: its id and its progress token come back to this server only.
    fn request<'t>(&self, id: &Value, fields: &Fields<'t>, edits: &mut Edits<'t>) -> Option<()> {
        let sealed = self.seal_id(&Id::from_value(id)?)?;
        edits.put_text(fields.get("id")?, &sealed);
        self.token(fields, &["params", "_meta", "progressToken"], edits)
    }

    fn token<'t>(&self, fields: &Fields<'t>, path: &[&str], edits: &mut Edits<'t>) -> Option<()> {
        let Some(raw) = at(fields, path) else { return Some(()) };
        let id = Id::from_value(&serde_json::from_str(raw.get()).ok()?)?;
        edits.put_text(raw, &self.seal_id(&id)?);
        Some(())
    }

    /// The URIs in a result: what a caller may read next.
    fn result<'t>(&self, result: &'t RawValue, edits: &mut Edits<'t>) {
        let Some(fields) = raw::object(result.get()) else { return };
        // Of a tool.
        for item in fields.get("content").and_then(|it| raw::list(it.get())).unwrap_or_default() {
            self.content(item, edits);
        }
        // Of a prompt.
        for message in fields.get("messages").and_then(|it| raw::list(it.get())).unwrap_or_default() {
            let Some(message) = raw::object(message.get()) else { continue };
            match message.get("content") {
                Some(content) if content.get().starts_with('[') => {
                    for item in raw::list(content.get()).unwrap_or_default() {
                        self.content(item, edits);
                    }
                }
                Some(content) => self.content(content, edits),
                None => {}
            }
        }
        // Of a resource.
        for item in fields.get("contents").and_then(|it| raw::list(it.get())).unwrap_or_default() {
            self.uri(item, edits);
        }
    }

    fn content<'t>(&self, item: &'t RawValue, edits: &mut Edits<'t>) {
        let Some(fields) = raw::object(item.get()) else { return };
        match fields.get("type").and_then(|kind| raw::text(kind)).as_deref() {
            Some("resource_link") => self.uri(item, edits),
            Some("resource") => {
                if let Some(resource) = fields.get("resource") {
                    self.uri(resource, edits);
                }
            }
            _ => {}
        }
    }

    fn uri<'t>(&self, of: &'t RawValue, edits: &mut Edits<'t>) {
        if let Some(raw) = raw::object(of.get()).and_then(|mut fields| fields.remove("uri"))
            && let Some(uri) = raw::text(raw)
        {
            edits.put_text(raw, &names::uri_of(&self.server, &uri));
        }
    }
}

/// What an id or token that a caller sends back means: the server, and the id as the server gave it.
pub(crate) fn open_id(sealer: &Sealer, bound: &str, sealed: &str) -> Option<(Arc<str>, Id)> {
    let plain = sealer.open(Form::Id, bound, sealed)?;
    let (server, id): (String, Value) = serde_json::from_slice(&plain).ok()?;
    Some((server.into(), Id::from_value(&id)?))
}

/// The value at a path of fields.
pub(crate) fn at<'t>(fields: &Fields<'t>, path: &[&str]) -> Option<&'t RawValue> {
    let (first, rest) = path.split_first()?;
    let value: &'t RawValue = fields.get(*first)?;
    if rest.is_empty() { Some(value) } else { at(&raw::object(value.get())?, rest) }
}
