//! Lists of all servers as one list, page by page.
//!
//! The first page holds the first page of every server; where one has more, the cursor says, sealed, where each goes on.
//! A server that gives no answer is named in `_meta` and costs its own entries.

#![allow(clippy::result_large_err, reason = "a call that has no answer is rare, and says all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use exchange::{CallError, Response};
use http::StatusCode;
use mesh::facts::{McpFacts, McpObject};
use serde_json::{Value, json};

use super::Federation;
use crate::{
    courier::{Answered, Came, Parcel, read},
    gate::Gate,
    id::Id,
    listing::List,
    message::Message,
    names,
    raw::{self, Edits},
    refusal,
    rejection::METHOD_NOT_FOUND,
    revision::Era,
    seal::Form,
};

/// How long a server's own cursor may be, in bytes. A list whose cursor is longer ends there.
const CURSOR_MAX: usize = 4096;
/// The `_meta` key under which servers are named that gave no answer.
const UNAVAILABLE: &str = "strait.dev/unavailable";

/// Where each server goes on: at its cursor, or at the beginning.
type Onward = BTreeMap<Arc<str>, Option<String>>;

/// A page of one server.
struct Page {
    came: Came,
    answered: Answered,
}

impl Federation<'_> {
    /// Answers a request for a list.
    pub(super) async fn list(&self, message: &Message, id: &Id) -> Response {
        let method = message.method_name();
        let Some(list) = List::of_method(method) else { return self.invalid(id, "No such list") };
        let onward: Onward = match message.params.get("cursor") {
            None => self.servers.iter().map(|server| (Arc::clone(&server.name), None)).collect(),
            Some(cursor) => match cursor.as_str().and_then(|cursor| self.open_cursor(list, cursor)) {
                Some(onward) => onward,
                None => return self.invalid(id, "Invalid cursor"),
            },
        };
        let asked = (0..self.servers.len()).filter(|at| onward.contains_key(&self.servers[*at].name));
        let pages = self.ask_all(asked, |at| {
            let cursor = onward.get(&self.servers[at].name).cloned().flatten();
            self.page(at, method, id, cursor)
        });
        self.merge_pages(list, id, &onward, pages.await)
    }

    async fn page(
        &self,
        at: usize,
        method: &str,
        id: &Id,
        cursor: Option<String>,
    ) -> Result<Page, CallError> {
        let mut params = json!({});
        if let Some(meta) = self.meta() {
            params["_meta"] = meta;
        }
        if let Some(cursor) = cursor {
            params["cursor"] = cursor.into();
        }
        let body =
            json!({"jsonrpc": "2.0", "id": id.value(), "method": method, "params": params}).to_string();
        let facts = McpFacts { method: method.into(), object: McpObject::Base };
        let parcel = || Parcel::post(Bytes::from(body.clone()), facts.clone(), None);
        let mut came = self.send(&self.servers[at], parcel).await?;
        let response = std::mem::take(&mut came.response);
        let answered =
            read(response, id, self.mcp.config.list_bytes_max).await.map_err(CallError::BadAnswer)?;
        Ok(Page { came, answered })
    }

    fn merge_pages(
        &self,
        list: List,
        id: &Id,
        from: &Onward,
        pages: Vec<(usize, Result<Page, CallError>)>,
    ) -> Response {
        let mut entries: Vec<String> = Vec::new();
        let mut length = 0_usize;
        let mut next = Onward::new();
        let mut lost: Vec<&str> = Vec::new();
        let mut error = None;
        let mut ttl: Option<u64> = None;
        let mut good = 0_usize;
        for (at, page) in pages {
            let server = &self.servers[at].name;
            let page = page.and_then(|page| {
                let theirs = self.entries(at, list, &page).map_err(CallError::BadAnswer)?;
                Ok((page, theirs))
            });
            match page {
                Err(cause) => {
                    self.lost(at, &cause);
                    lost.push(server);
                    error = Some(cause);
                }
                Ok((page, theirs)) => {
                    good += 1;
                    let size: usize = theirs.iter().map(String::len).sum();
                    if length.saturating_add(size) > self.mcp.config.list_bytes_max && length > 0 {
                        // Another page, from where this server was asked.
                        next.insert(Arc::clone(server), from.get(server).cloned().flatten());
                        continue;
                    }
                    length = length.saturating_add(size);
                    entries.extend(theirs);
                    let result = page.answered.value.get("result");
                    let field = |name: &str| result.and_then(|result| result.get(name));
                    match field("nextCursor").and_then(Value::as_str) {
                        Some(cursor) if cursor.len() <= CURSOR_MAX => {
                            next.insert(Arc::clone(server), Some(cursor.to_owned()));
                        }
                        Some(_) => self.exchange.trail.note("mcp.cursor_too_long", server),
                        None => {}
                    }
                    if let Some(theirs) = field("ttlMs").and_then(Value::as_u64) {
                        ttl = Some(ttl.map_or(theirs, |ours| ours.min(theirs)));
                    }
                }
            }
        }
        if good == 0 {
            let error = error.unwrap_or_else(|| CallError::Unresolved("there is no server to ask".into()));
            return self.mcp.no_answer(self.exchange, self.opened, &error);
        }
        let mut rest = json!({});
        if !lost.is_empty() {
            rest["_meta"] = json!({UNAVAILABLE: lost});
        }
        if !next.is_empty() {
            match self.seal_cursor(list, &next) {
                Some(cursor) => rest["nextCursor"] = cursor.into(),
                None => {
                    let error = CallError::BadAnswer("where the list goes on cannot be sealed".to_owned());
                    return self.mcp.no_answer(self.exchange, self.opened, &error);
                }
            }
        }
        if self.opened.era() == Era::Stateless {
            rest["resultType"] = "complete".into();
            // What is not whole is not worth keeping.
            rest["ttlMs"] = if lost.is_empty() { ttl.unwrap_or(0).into() } else { 0.into() };
            rest["cacheScope"] = "private".into();
        }
        refusal::json_response(StatusCode::OK, written(list, id, &entries, &rest, length))
    }

    /// What of a server's page is shown, as it is shown.
    fn entries(&self, at: usize, list: List, page: &Page) -> Result<Vec<String>, String> {
        let server = &*self.servers[at].name;
        let value = &page.answered.value;
        if let Some(error) = value.get("error") {
            return match error.get("code").and_then(Value::as_i64) {
                // A server that has no such things.
                Some(METHOD_NOT_FOUND) => Ok(Vec::new()),
                code => Err(format!("the server answers with the error {}", code.unwrap_or_default())),
            };
        }
        let key = list.key();
        let Some(values) = value.pointer("/result").and_then(|result| result.get(key)) else {
            return Err(format!("{key} is missing"));
        };
        let values = values.as_array().ok_or_else(|| format!("{key} is not a list"))?;
        let text = std::str::from_utf8(&page.answered.text).map_err(|error| error.to_string())?;
        let raws = raw::object(text)
            .and_then(|fields| raw::object(fields.get("result")?.get()))
            .and_then(|fields| raw::list(fields.get(key)?.get()))
            .ok_or_else(|| format!("{key} is not a list"))?;
        let gate = Gate::new(
            self.scope(at, &page.came),
            &self.mcp.shelf,
            &self.mcp.counts,
            Some((self.backend.clone(), Arc::clone(&self.servers[at].name))),
        );
        let mut names = BTreeSet::new();
        let mut shown = Vec::new();
        for (raw, value) in raws.iter().zip(values) {
            let Some((own, visible)) = visible(list, server, value) else { continue };
            if !names.insert(own) {
                self.mcp.counts.collided();
                self.exchange.trail.note("mcp.collision", &visible);
                continue;
            }
            let Some(facts) = list.facts_named(&visible) else { continue };
            if gate.passes(facts, value) {
                shown.extend(renamed(list, server, raw.get(), &visible));
            }
        }
        Ok(shown)
    }

    fn seal_cursor(&self, list: List, onward: &Onward) -> Option<String> {
        let plain = serde_json::to_vec(&(list.key(), onward)).ok()?;
        self.mcp.sealer.seal_alike(Form::Cursor, &self.bound, plain)
    }

    fn open_cursor(&self, list: List, cursor: &str) -> Option<Onward> {
        let plain = self.mcp.sealer.open(Form::Cursor, &self.bound, cursor)?;
        let (key, onward): (String, Onward) = serde_json::from_slice(&plain).ok()?;
        (key == list.key()).then_some(onward)
    }

    /// Remembers what a server says of all its tools, as a call asks for it.
    pub(super) async fn learn(&self, at: usize) -> Result<(), CallError> {
        let id = &Id::Text("strait".into());
        crate::learn::learn(
            self.mcp,
            &(self.backend.clone(), Arc::clone(&self.servers[at].name)),
            |name| names::name_of(&self.servers[at].name, name),
            |cursor| async {
                let page = self.page(at, "tools/list", id, cursor).await?;
                Ok(page.answered)
            },
        )
        .await
    }
}

/// An entry's own name and the one that callers see.
fn visible(list: List, server: &str, entry: &Value) -> Option<(String, String)> {
    let own = entry.get(list.name_field()).and_then(Value::as_str).filter(|own| !own.is_empty())?;
    let visible = match list {
        List::Tools | List::Prompts => names::name_of(server, own),
        List::Resources | List::Templates => names::uri_of(server, own),
    };
    Some((own.to_owned(), visible))
}

/// The entry under the name that callers see; the rest of it stays as it came.
fn renamed(list: List, server: &str, entry: &str, visible: &str) -> Option<String> {
    let fields = raw::object(entry)?;
    let mut edits = Edits::of(entry);
    edits.put_text(fields.get(list.name_field())?, visible);
    // Where a tool names a resource by which it is shown, that is one of the same server.
    if let Some(meta) = fields.get("_meta").and_then(|meta| raw::object(meta.get())) {
        let nested =
            meta.get("ui").and_then(|ui| raw::object(ui.get())).and_then(|mut ui| ui.remove("resourceUri"));
        for raw in [nested, meta.get("ui/resourceUri").copied()].into_iter().flatten() {
            if let Some(uri) = raw::text(raw) {
                edits.put_text(raw, &names::uri_of(server, &uri));
            }
        }
    }
    let done = edits.done()?;
    String::from_utf8(done.to_vec()).ok()
}

fn written(list: List, id: &Id, entries: &[String], rest: &Value, length: usize) -> Bytes {
    let mut out = String::with_capacity(length + entries.len() + 256);
    out.push_str("{\"jsonrpc\":\"2.0\",\"id\":");
    out.push_str(&id.value().to_string());
    out.push_str(",\"result\":{\"");
    out.push_str(list.key());
    out.push_str("\":[");
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(entry);
    }
    out.push(']');
    for (key, value) in rest.as_object().into_iter().flatten() {
        out.push(',');
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        out.push_str(&value.to_string());
    }
    out.push_str("}}");
    Bytes::from(out)
}
