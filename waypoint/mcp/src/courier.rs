//! Carries single messages to single servers of a backend, on behalf of one caller.
//!
//! *Guarantees*: nothing that the caller showed of itself goes along; each server sees the credentials that are its
//! own. Endpoints that were used are in the trail of the exchange when a message returns, judged there again.

#![allow(clippy::result_large_err, reason = "a call that has no answer is rare, and says all of it")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use exchange::{
    Body, CallError, Exchange, Framer as _, Place, Purpose, Response, Trail, Upstreams, credential,
    json::{self, Keys},
    sse::{Event, Events},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use mesh::{
    Denial, Facts, Reason,
    facts::{Fact, McpFacts},
    names::WorkloadUid,
    resource::{BackendTarget, McpServer},
};
use serde_json::Value;

use crate::{
    federation::sessions::Upstream,
    head::{LAST_EVENT, METHOD, NAME, PARAM_PREFIX, SESSION, VERSION},
    id::Id,
    onward,
    revision::{Era, Revision},
};

/// What is sent.
pub(crate) struct Parcel {
    pub(crate) verb: Method,
    pub(crate) body: Bytes,
    /// What it is judged by at the server's own endpoint.
    pub(crate) facts: McpFacts,
    /// The name that `Mcp-Name` repeats.
    pub(crate) name: Option<String>,
    /// Where a stream is to be resumed.
    pub(crate) last_event: Option<String>,
}

impl Parcel {
    pub(crate) fn post(body: Bytes, facts: McpFacts, name: Option<String>) -> Self {
        Self { verb: Method::POST, body, facts, name, last_event: None }
    }
}

/// What came back.
pub(crate) struct Came {
    pub(crate) response: Response,
    pub(crate) endpoint: WorkloadUid,
    /// The endpoint ports that were used.
    pub(crate) places: Vec<Place>,
}

/// Carries for one exchange.
pub(crate) struct Courier<'e> {
    exchange: &'e Exchange,
    upstreams: &'e dyn Upstreams,
    headers: HeaderMap,
}

impl<'e> Courier<'e> {
    /// `headers` are the caller's own.
    pub(crate) fn new(exchange: &'e Exchange, upstreams: &'e dyn Upstreams, headers: &HeaderMap) -> Self {
        let mut headers = headers.clone();
        const NOT_ON: [HeaderName; 12] = [
            header::ACCEPT_ENCODING,
            header::AUTHORIZATION,
            header::COOKIE,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::ORIGIN,
            SESSION,
            VERSION,
            METHOD,
            NAME,
            LAST_EVENT,
        ];
        NOT_ON.iter().for_each(|name| {
            headers.remove(name);
        });
        Self { exchange, upstreams, headers }
    }

    /// Sends to a server, in a session at it.
    pub(crate) async fn send(
        &self,
        server: &McpServer,
        session: &Upstream,
        parcel: Parcel,
    ) -> Result<Came, CallError> {
        let request = self.request(server, session, &parcel)?;
        let mut call = self.exchange.call(server.target.clone(), request);
        let mcp = Fact::Known(parcel.facts);
        call.facts = Arc::new(Facts { mcp, ..Facts::clone(&self.exchange.facts) });
        call.pin = session.endpoint.clone();
        let trail = Trail::default();
        call.trail = trail.clone();
        let facts = Arc::clone(&call.facts);
        let sent = self.upstreams.call(call).await;
        let record = trail.record();
        if let Some(upstream) = record.upstream {
            self.exchange.trail.attempt(upstream);
        }
        let reply = sent?;
        self.exchange.trail.answered(reply.response.status());
        // Registered, so that a denial finds them from now on, and then judged once more: one that came meanwhile did
        // not.
        for place in &record.places {
            if !self.exchange.trail.used(place.clone()) {
                let text = "the exchange has used too many endpoints";
                return Err(CallError::Denied(Denial::plain(Reason::TooMuch, text)));
            }
            self.exchange.judge.judge(place, &facts, Purpose::Again).map_err(CallError::Denied)?;
        }
        Ok(Came { response: reply.response, endpoint: reply.endpoint, places: record.places })
    }

    fn request(
        &self,
        server: &McpServer,
        session: &Upstream,
        parcel: &Parcel,
    ) -> Result<exchange::Request, CallError> {
        let unsaid = |what: &str| CallError::BadAnswer(format!("{what} cannot stand in a header"));
        let mut headers = self.headers.clone();
        let mut put = |name: HeaderName, text: &str| -> Result<(), CallError> {
            let value = HeaderValue::from_str(text).map_err(|_| unsaid(name.as_str()))?;
            headers.insert(name, value);
            Ok(())
        };
        match parcel.verb {
            Method::POST => {
                put(header::CONTENT_TYPE, "application/json")?;
                put(header::ACCEPT, "application/json, text/event-stream")?;
            }
            Method::GET => put(header::ACCEPT, "text/event-stream")?,
            _ => {}
        }
        if &*parcel.facts.method != "initialize" {
            put(VERSION, session.revision.name())?;
        }
        if !session.id.is_empty() {
            put(SESSION, &session.id)?;
        }
        if session.revision.era() == Era::Stateless {
            put(METHOD, &parcel.facts.method)?;
            if let Some(name) = &parcel.name {
                put(NAME, &said(name))?;
            }
        }
        if let Some(last) = &parcel.last_event {
            put(LAST_EVENT, last)?;
        }
        if let BackendTarget::Host(host) = &server.target {
            put(header::HOST, &onward::authority(host))?;
        }
        if &*parcel.facts.method != "tools/call" {
            let params: Vec<HeaderName> =
                headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)).cloned().collect();
            params.iter().for_each(|name| {
                headers.remove(name);
            });
        }
        credential::apply(&*self.exchange.known, server.auth.as_ref(), &mut headers)?;
        let mut request = exchange::Request::new(Body::held_bytes(parcel.body.clone()));
        *request.method_mut() = parcel.verb.clone();
        *request.headers_mut() = headers;
        *request.uri_mut() = server
            .path
            .parse::<Uri>()
            .map_err(|_| CallError::Unresolved(format!("{} is no path of a server", server.path).into()))?;
        Ok(request)
    }
}

/// A name as a header says it: as it is, or in base64 where it would not stand (2026-07-28, "Header Encoding").
fn said(name: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let plain = name.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && name.trim() == name
        && !name.starts_with("=?base64?");
    if plain { name.to_owned() } else { format!("=?base64?{}?=", STANDARD.encode(name)) }
}

/// The answer to one request: its status, and the JSON-RPC response as it stood.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) text: Bytes,
    pub(crate) value: Value,
}

/// Reads the answer to a request out of a response, whether it is JSON or stands in a stream of events; what else is in
/// the stream is not meant for anybody here.
pub(crate) async fn read(response: Response, id: &Id, bytes_max: usize) -> Result<Answered, String> {
    let status = response.status();
    let kind = crate::respond::kind(response.headers());
    let mut body = response.into_body();
    let text = match kind {
        crate::respond::Kind::Json => body.hold(bytes_max).await.map_err(|error| error.to_string())?.clone(),
        crate::respond::Kind::Events => in_stream(&mut body, id, bytes_max).await?,
        crate::respond::Kind::Encoded => return Err("the answer is compressed".to_owned()),
        crate::respond::Kind::Other => return Err(format!("the answer is {status} and no JSON")),
    };
    let value = json::parse_answer(&text, Keys::Equal).map_err(|error| error.to_string())?;
    let answers = value.get("result").is_some() != value.get("error").is_some();
    let own = value.get("id").and_then(Id::from_value).as_ref() == Some(id)
        || (value.get("error").is_some() && value.get("id").is_none_or(Value::is_null));
    if !answers || !own {
        return Err("the answer is not one to the request".to_owned());
    }
    Ok(Answered { status, text, value })
}

async fn in_stream(body: &mut Body, id: &Id, bytes_max: usize) -> Result<Bytes, String> {
    let mut events = Events::new(bytes_max);
    let mut length = 0_usize;
    loop {
        let over = match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    length = length.saturating_add(data.len());
                    events.push(data);
                }
                false
            }
            Some(Err(error)) => return Err(error.to_string()),
            None => true,
        };
        if length > bytes_max {
            return Err(format!("the answer has more than {bytes_max} bytes"));
        }
        loop {
            let block = if over { events.finish() } else { events.next() };
            let Some(block) = block.map_err(|error| error.to_string())? else { break };
            let Ok(Event { data: Some(data), .. }) = Event::parse(&block) else { continue };
            let answers = json::parse_answer(data.as_bytes(), Keys::Equal).is_ok_and(|message| {
                message.get("method").is_none()
                    && message.get("id").and_then(Id::from_value).as_ref() == Some(id)
            });
            if answers {
                return Ok(Bytes::from(data));
            }
        }
        if over {
            return Err("the stream ended without an answer".to_owned());
        }
    }
}

/// Waits for at most this long.
pub(crate) async fn within<T>(
    span: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    tokio::time::timeout(span, work).await.unwrap_or(Err(CallError::TimedOut(span)))
}

/// A server without a session: what the newest revision has, and what a first message is sent with.
pub(crate) fn bare(server: &McpServer, revision: Revision) -> Upstream {
    Upstream { server: Arc::clone(&server.name), endpoint: None, id: String::new(), revision }
}
