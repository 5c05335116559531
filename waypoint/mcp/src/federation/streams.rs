//! What servers say of themselves, all in one stream.

use bytes::Bytes;
use exchange::{CallError, Response, sse::Event};
use http::{HeaderValue, Method, StatusCode, header};
use mesh::facts::{McpFacts, McpObject};
use serde_json::{Value, json};

use super::{
    Federation,
    merge::{Source, merge},
    status,
    teller::{Positions, Teller},
};
use crate::{
    courier::{Came, Parcel, bare},
    id::Id,
    message::Message,
    names,
    object::base_facts,
    raw::{self, Edits},
    rejection::{INVALID_REQUEST, METHOD_NOT_FOUND, Rejection},
    respond::{Kind, kind},
};

/// How long one event of one of many streams may be, in bytes.
const EVENT_MAX: usize = 1 << 20;

impl Federation<'_> {
    /// The streams of all servers, resumed where the caller was.
    pub(super) async fn listen(&self) -> Response {
        let last = self.opened.head.last_event.clone();
        let from = match last.as_deref().map(|id| Positions::open(&self.mcp.sealer, &self.bound, id)) {
            None => None,
            Some(Some(from)) => Some(from),
            Some(None) => {
                let text = "Last-Event-ID is none of ours";
                return self.rejected(&Rejection::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, text));
            }
        };
        // Whoever resumes is sent on to the servers whose streams it had.
        let asked = (0..self.servers.len())
            .filter(|at| from.as_ref().is_none_or(|from| from.contains_key(&self.servers[*at].name)));
        let opened = self.ask_all(asked, |at| {
            let last_event = from.as_ref().and_then(|from| from.get(&self.servers[at].name)).cloned();
            async move {
                let server = &self.servers[at];
                let parcel = Parcel {
                    verb: Method::GET,
                    last_event,
                    ..Parcel::post(Bytes::new(), base_facts(), None)
                };
                let Some(session) = self.known(server) else {
                    return Err(CallError::BadAnswer("there is no session".to_owned()));
                };
                self.courier.send(server, &session, parcel).await
            }
        });
        let opened = opened.await;
        let positions = Positions::of(from.unwrap_or_default());
        let mut failure = None;
        let mut sources = Vec::new();
        for (at, came) in opened {
            match came {
                Ok(came) if is_stream(&came) => sources.push(self.source(at, came, &positions, None, true)),
                // It has nothing to say of itself.
                Ok(_) => {}
                Err(error) => {
                    self.lost(at, &error);
                    failure = Some(error);
                }
            }
        }
        match (sources.is_empty(), failure) {
            (true, Some(error)) => self.mcp.no_answer(self.exchange, self.opened, &error),
            (true, None) => {
                let text = "No server has a stream";
                let rejection = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, METHOD_NOT_FOUND, text);
                self.rejected(&rejection)
            }
            (false, _) => self.streamed(sources, None),
        }
    }

    /// A subscription at all servers. It is acknowledged here; what the servers then say comes on.
    pub(super) async fn subscribe(&self, message: &Message, id: &Id) -> Response {
        let asked = self.ask_all(0..self.servers.len(), |at| {
            let body = self.subscription_of(at, message);
            async move {
                let Some(body) = body else {
                    return Err(CallError::BadAnswer("the subscription cannot be read".to_owned()));
                };
                let facts = McpFacts { method: "subscriptions/listen".into(), object: McpObject::Base };
                let server = &self.servers[at];
                let session = bare(server, self.opened.revision);
                self.courier.send(server, &session, Parcel::post(body, facts, None)).await
            }
        });
        let positions = Positions::default();
        let mut failure = None;
        let mut sources = Vec::new();
        for (at, came) in asked.await {
            match came {
                Ok(came) if is_stream(&came) => {
                    let scope = self.scope(at, &came);
                    if self.mcp.judge_more(&scope, self.opened).is_ok() {
                        sources.push(self.source(at, came, &positions, Some(id.clone()), false));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.lost(at, &error);
                    failure = Some(error);
                }
            }
        }
        if sources.is_empty() {
            return match failure {
                Some(error) => self.mcp.no_answer(self.exchange, self.opened, &error),
                None => {
                    let text = "No server has subscriptions";
                    let rejection = Rejection::new(StatusCode::NOT_FOUND, METHOD_NOT_FOUND, text);
                    self.rejected(&rejection.of(Some(id.clone())))
                }
            };
        }
        let honoured = message.params.get("notifications").cloned().unwrap_or_else(|| json!({}));
        let acknowledged = json!({
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {
                "notifications": honoured,
                "_meta": {"io.modelcontextprotocol/subscriptionId": id.value()},
            },
        });
        let first = Event {
            name: Some("message".to_owned()),
            data: Some(acknowledged.to_string()),
            ..Event::default()
        };
        self.streamed(sources, Some(first.encode()))
    }

    /// The subscription as one server is to read it: with its own resources, and no others.
    fn subscription_of(&self, at: usize, message: &Message) -> Option<Bytes> {
        let wanted = message.params.get("notifications").and_then(|it| it.get("resourceSubscriptions"));
        let Some(wanted) = wanted.and_then(Value::as_array) else { return Some(message.raw.clone()) };
        let own: Vec<&str> = wanted
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|uri| names::by_uri(self.servers, uri))
            .filter_map(|(of, uri)| (of == at).then_some(uri))
            .collect();
        let text = std::str::from_utf8(&message.raw).ok()?;
        let fields = raw::object(text)?;
        let place = super::rewrite::at(&fields, &["params", "notifications", "resourceSubscriptions"])?;
        let mut edits = Edits::of(text);
        edits.put(place.get(), json!(own).to_string());
        edits.done()
    }

    fn source(
        &self,
        at: usize,
        came: Came,
        positions: &Positions,
        request: Option<Id>,
        answers: bool,
    ) -> Source {
        let scope = self.scope(at, &came);
        let teller =
            Teller { rewriter: self.rewriter(at), scope, positions: positions.clone(), request, answers };
        Source { body: came.response.into_body(), messages: Box::new(teller) }
    }

    fn streamed(&self, sources: Vec<Source>, first: Option<Bytes>) -> Response {
        let mut response = status(StatusCode::OK);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let longest = EVENT_MAX.min(self.mcp.config.event_bytes_max);
        *response.body_mut() = merge(sources, first, longest, &self.exchange.closing);
        response
    }
}

fn is_stream(came: &Came) -> bool {
    came.response.status() == StatusCode::OK && matches!(kind(came.response.headers()), Kind::Events)
}
