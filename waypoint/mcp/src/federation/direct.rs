//! What names a thing, and so goes to the one server that has it; and what answers a server's request.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use exchange::{
    CallError, Response,
    json::{self, Keys},
    messages,
    sse::Events,
};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use super::{
    Federation, accepted,
    rewrite::{self, Outward},
    status,
    teller::{Positions, Teller},
};
use crate::{
    courier::{Came, Parcel},
    id::Id,
    learn,
    message::Message,
    names,
    raw::{self, Edits},
    refusal,
    rejection::{INVALID_REQUEST, Rejection},
    respond::{Kind, kind},
    scope::Scope,
};

/// A message as its server is to read it.
struct Addressed {
    at: usize,
    own: String,
    body: Bytes,
}

impl Federation<'_> {
    /// Calls, gets, reads, subscribes or completes.
    pub(super) async fn direct(&self, message: &Message, id: &Id) -> Response {
        let Some(addressed) = self.address(message) else {
            let text = match message.method_name() {
                "tools/call" => format!("Unknown tool: {}", message.param("name").unwrap_or_default()),
                "prompts/get" => format!("Unknown prompt: {}", message.param("name").unwrap_or_default()),
                _ => "Resource not found".to_owned(),
            };
            return self.invalid(id, &text);
        };
        let at = addressed.at;
        let server = &self.servers[at];
        if message.method_name() == "tools/call"
            && let Some(visible) = message.param("name")
        {
            let catalogued = Scope::of(self.exchange).catalogued().clone();
            let key = (self.backend.clone(), Arc::clone(&server.name));
            let checked = learn::check(self.mcp, &catalogued, &key, visible, || self.learn(at));
            match checked.await {
                Ok(()) => {}
                Err(CallError::Denied(denial)) => {
                    return refusal::refused(&Scope::of(self.exchange), self.opened, &denial);
                }
                Err(error) => return self.no_answer(at, &error),
            }
        }
        let facts = names::inner(&server.name, &self.facts());
        let name = (message.method_name() != "completion/complete").then(|| addressed.own.clone());
        let sent =
            self.send(server, || Parcel::post(addressed.body.clone(), facts.clone(), name.clone())).await;
        match sent {
            Ok(came) => self.pass(at, id, came).await,
            Err(error) => self.no_answer(at, &error),
        }
    }

    /// Which server a message is for, and the message in its words. Everything but the name stays byte by byte.
    fn address(&self, message: &Message) -> Option<Addressed> {
        let text = std::str::from_utf8(&message.raw).ok()?;
        let fields = raw::object(text)?;
        let params = raw::object(fields.get("params")?.get())?;
        let (raw, named) = match message.method_name() {
            "tools/call" | "prompts/get" => (*params.get("name")?, true),
            "completion/complete" => {
                let reference = raw::object(params.get("ref")?.get())?;
                match reference.get("type").and_then(|kind| raw::text(kind)).as_deref() {
                    Some("ref/prompt") => (*reference.get("name")?, true),
                    _ => (*reference.get("uri")?, false),
                }
            }
            _ => (*params.get("uri")?, false),
        };
        let visible = raw::text(raw)?;
        let (at, own) = if named {
            names::by_name(self.servers, &visible)?
        } else {
            names::by_uri(self.servers, &visible)?
        };
        let mut edits = Edits::of(text);
        edits.put_text(raw, own);
        Some(Addressed { at, own: own.to_owned(), body: edits.done()? })
    }

    /// Passes one server's answer on.
    pub(super) async fn pass(&self, at: usize, id: &Id, came: Came) -> Response {
        let scope = self.scope(at, &came);
        if let Err(denial) = self.mcp.judge_more(&scope, self.opened) {
            return refusal::refused(&scope, self.opened, &denial);
        }
        let rewriter = self.rewriter(at);
        let (parts, mut body) = came.response.into_parts();
        match kind(&parts.headers) {
            Kind::Events => {
                let request = Some(id.clone());
                let positions = Positions::of(BTreeMap::new());
                let teller = Teller { rewriter, scope, positions, request, answers: true };
                let events = Events::new(self.mcp.config.event_bytes_max);
                let mut response = status(parts.status);
                let kind = HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                *response.body_mut() =
                    messages::through(body, Box::new(events), Box::new(teller), &self.exchange.closing);
                response
            }
            Kind::Json => {
                let held = match body.hold(self.mcp.config.list_bytes_max).await {
                    Ok(held) => held.clone(),
                    Err(error) => return self.no_answer(at, &CallError::BadAnswer(error.to_string())),
                };
                let bad = |text: &str| self.no_answer(at, &CallError::BadAnswer(text.to_owned()));
                let Ok(text) = std::str::from_utf8(&held) else { return bad("the answer is not UTF-8") };
                let own = json::parse_answer(&held, Keys::Equal).is_ok_and(|answer| {
                    let said = answer.get("id").filter(|said| !said.is_null());
                    answer.get("method").is_none()
                        && said.is_none_or(|said| Id::from_value(said).as_ref() == Some(id))
                });
                if !own {
                    return bad("the answer is not one to the request");
                }
                match rewriter.outward(text, &scope) {
                    Outward::Keep => refusal::json_response(parts.status, held),
                    Outward::Other(other) => refusal::json_response(parts.status, other),
                    Outward::Drop | Outward::Unreadable => bad("the answer cannot be read for certain"),
                }
            }
            Kind::Encoded => {
                self.no_answer(at, &CallError::BadAnswer("the answer is compressed, unasked".to_owned()))
            }
            Kind::Other => self.no_answer(
                at,
                &CallError::BadAnswer(format!("{} and neither JSON nor events", parts.status)),
            ),
        }
    }

    /// A caller's answer to a request of a server goes to that server, under the id that it gave.
    pub(super) async fn bring_back(&self, message: &Message, id: &Id) -> Response {
        let opened = match id {
            Id::Text(sealed) => rewrite::open_id(&self.mcp.sealer, &self.bound, sealed),
            Id::Number(_) | Id::Large(_) => None,
        };
        let found = opened
            .and_then(|(server, own)| Some((self.servers.iter().position(|it| it.name == server)?, own)));
        let Some((at, own)) = found else {
            let text = "The response answers no request of a server";
            return self.rejected(&Rejection::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, text));
        };
        self.send_with(at, message, &["id"], &own.value()).await
    }

    /// Progress goes to the server that gave the token. Of anybody else's it is not known whom it concerns.
    pub(super) async fn progress(&self, message: &Message) -> Response {
        let token = message.param("progressToken");
        let opened = token.and_then(|token| rewrite::open_id(&self.mcp.sealer, &self.bound, token));
        let found = opened
            .and_then(|(server, own)| Some((self.servers.iter().position(|it| it.name == server)?, own)));
        match found {
            Some((at, own)) => self.send_with(at, message, &["params", "progressToken"], &own.value()).await,
            None => accepted(),
        }
    }

    /// Sends a message to a server with another value at one place.
    async fn send_with(&self, at: usize, message: &Message, path: &[&str], other: &Value) -> Response {
        let body = std::str::from_utf8(&message.raw).ok().and_then(|text| {
            let fields = raw::object(text)?;
            let mut edits = Edits::of(text);
            edits.put(rewrite::at(&fields, path)?.get(), other.to_string());
            edits.done()
        });
        let Some(body) = body else { return accepted() };
        let facts = self.opened.objects.facts.clone();
        let server = &self.servers[at];
        // It belongs to the session in which the server asked; in no other would it be known.
        let Some(session) = self.known(server) else { return accepted() };
        match self.courier.send(server, &session, Parcel::post(body, facts, None)).await {
            Ok(came) if came.response.status().is_success() => accepted(),
            Ok(came) => status(came.response.status()),
            Err(error) => self.no_answer(at, &error),
        }
    }
}
