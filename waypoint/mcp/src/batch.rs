//! Several messages in one request, as 2025-03-26 and 2024-11-05 allow.
//!
//! Each is judged and answered as if it had come alone; a batch is no way around anything. What is answered as a stream
//! makes the whole answer one.

use bytes::Bytes;
use exchange::{
    Ask, Body, BoxFuture, Exchange, Messages, Passage, Purpose, Responder as _, Response, Upstreams, Used,
    json::{self, Keys},
    sse::Event,
};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh::{Denial, Facts, facts::Fact};

use crate::{
    federation::merge::{Source, merge},
    head::{Head, METHOD, NAME, PARAM_PREFIX},
    message::{Kind, Message, unreadable},
    object::Objects,
    opening::{Opened, Opening, described},
    raw, refusal,
    rejection::{INVALID_REQUEST, Rejection},
    respond::{self, Mcp},
    revision::Revision,
    scope::Scope,
};

/// How many messages one request may hold.
pub(crate) const MESSAGES_MAX: usize = 64;
/// How many of them are answered at once.
const ABREAST_MAX: usize = 8;

/// Reads a batch: each message by itself.
pub(crate) fn read(head: &Head, headers: &HeaderMap, body: &Bytes) -> Result<Vec<Opened>, Rejection> {
    json::parse(body, Keys::EqualButForCase).map_err(|error| unreadable(&error))?;
    let invalid = |text: &str| Rejection::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, text);
    let allowed = match head.version.as_deref().map_or(Some(Revision::UNSAID), Revision::from_name) {
        Some(revision) => revision <= Revision::V2025_03_26,
        None => return Err(Rejection::unsupported(head.version.as_deref().unwrap_or_default())),
    };
    if !allowed {
        return Err(invalid("Batches are not part of this revision"));
    }
    let repeats =
        |name: &http::HeaderName| *name == METHOD || *name == NAME || name.as_str().starts_with(PARAM_PREFIX);
    if headers.keys().any(repeats) {
        return Err(Rejection::mismatch("Headers repeat one message, and there are several"));
    }
    let text = std::str::from_utf8(body).map_err(|_| invalid("The body is not UTF-8"))?;
    let parts = raw::list(text).ok_or_else(|| invalid("The body is not a batch"))?;
    if parts.is_empty() || parts.len() > MESSAGES_MAX {
        return Err(invalid("A batch holds 1 to 64 messages"));
    }
    let mut opened = Vec::new();
    for part in parts {
        let message = Message::parse(Bytes::copy_from_slice(part.get().as_bytes()))?;
        if message.method_name() == "initialize" {
            return Err(invalid("initialize stands alone"));
        }
        let revision = head.agree(&message, headers)?;
        let objects = Objects::of(&message, revision.era())?;
        opened.push(Opened {
            head: head.clone(),
            revision,
            message: Some(message),
            objects,
            batch: Vec::new(),
        });
    }
    let mut ids: Vec<_> = opened.iter().filter_map(|it| it.message.as_ref()?.request_id().cloned()).collect();
    let count = ids.len();
    ids.sort_by_key(|id| id.value().to_string());
    ids.dedup();
    if ids.len() != count {
        return Err(invalid("Two requests of a batch have one id"));
    }
    Ok(opened)
}

/// Answers a batch.
pub(crate) async fn answer(
    mcp: &Mcp,
    exchange: &mut Exchange,
    upstreams: &dyn Upstreams,
    opened: &Opened,
) -> Response {
    let request = exchange.take_request();
    let exchange = &*exchange;
    let asks = |it: &&Opened| it.message.as_ref().is_some_and(|message| message.request_id().is_some());
    let requests = opened.batch.iter().filter(asks).count();
    if let Err(denial) = count(exchange, requests) {
        return refusal::refused(&Scope::of(exchange), opened, &denial);
    }
    if !request.headers().get_all(header::ACCEPT).iter().any(streams) && requests > 0 {
        let text = "A batch may be answered by a stream of events, which is not accepted";
        let rejection = Rejection::new(StatusCode::NOT_ACCEPTABLE, INVALID_REQUEST, text);
        return refusal::rejected(&Scope::of(exchange), &rejection, None);
    }
    let mut answers: Vec<BoxFuture<'_, Response>> = Vec::with_capacity(opened.batch.len());
    for one in &opened.batch {
        answers.push(Box::pin(one_of(mcp, exchange, upstreams, &request, one)));
    }
    let answers: Vec<Response> = stream::iter(answers).buffered(ABREAST_MAX).collect().await;
    let mut whole: Vec<Bytes> = Vec::new();
    let mut sources = Vec::new();
    for (one, response) in opened.batch.iter().zip(answers) {
        if !matches!(one.message.as_ref().map(|message| &message.kind), Some(Kind::Request(_))) {
            continue;
        }
        let (parts, mut body) = response.into_parts();
        if matches!(respond::kind(&parts.headers), respond::Kind::Events) {
            sources.push(Source { body, messages: Box::new(AsItIs) });
            continue;
        }
        match body.hold(mcp.config.list_bytes_max).await {
            Ok(held) if !held.is_empty() => whole.push(held.clone()),
            _ => whole.push(lost(one)),
        }
    }
    combined(mcp, exchange, requests, &whole, sources)
}

fn combined(
    mcp: &Mcp,
    exchange: &Exchange,
    requests: usize,
    whole: &[Bytes],
    sources: Vec<Source>,
) -> Response {
    let mut response = Response::new(Body::empty());
    if requests == 0 {
        *response.status_mut() = StatusCode::ACCEPTED;
    } else if sources.is_empty() {
        let mut out = Vec::new();
        for (at, one) in whole.iter().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
            out.extend_from_slice(one);
        }
        out.push(b']');
        response = refusal::json_response(StatusCode::OK, Bytes::from(out));
    } else {
        let mut first = Vec::new();
        for one in whole {
            let data = Some(String::from_utf8_lossy(one).into_owned());
            first.extend_from_slice(
                &Event { name: Some("message".to_owned()), data, ..Event::default() }.encode(),
            );
        }
        let kind = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        let first = (!first.is_empty()).then(|| Bytes::from(first));
        *response.body_mut() = merge(sources, first, mcp.config.event_bytes_max, &exchange.closing);
    }
    response
}

/// The filters counted one request; the others are counted here.
fn count(exchange: &Exchange, requests: usize) -> Result<(), Denial> {
    let Some(more) = requests.checked_sub(1).filter(|more| *more > 0) else { return Ok(()) };
    let quotas = exchange.known.quotas(&exchange.way());
    if quotas.is_empty() {
        return Ok(());
    }
    let ask = Ask { requests: u64::try_from(more).unwrap_or(u64::MAX), ..Ask::default() };
    let reserved = exchange.ledger.reserve(&exchange.facts, &quotas, &ask);
    reserved.map(|reserved| reserved.settle(Used::default())).map_err(|exceeded| exceeded.denial)
}

/// Judges and answers one message as if it had come alone.
async fn one_of(
    mcp: &Mcp,
    exchange: &Exchange,
    upstreams: &dyn Upstreams,
    request: &exchange::Request,
    opened: &Opened,
) -> Response {
    let scope = Scope::of(exchange);
    if let Err(denial) = scope.judge(opened.objects.facts.clone(), Purpose::Decide) {
        return refusal::refused(&scope, opened, &denial);
    }
    let raw = opened.message.as_ref().map(|message| message.raw.clone()).unwrap_or_default();
    let mut alone = exchange::Request::new(Body::held_bytes(raw));
    *alone.method_mut() = request.method().clone();
    *alone.uri_mut() = request.uri().clone();
    *alone.headers_mut() = request.headers().clone();
    alone.headers_mut().remove(header::CONTENT_LENGTH);
    alone.extensions_mut().insert(Opening(std::sync::Arc::new(Ok(opened.clone()))));
    let known = Fact::Known(opened.objects.facts.clone());
    let mcp_facts = described(known, &exchange.backend, &*exchange.known);
    let mut one = Exchange {
        request: alone,
        facts: std::sync::Arc::new(Facts { mcp: mcp_facts, ..Facts::clone(&exchange.facts) }),
        demand: exchange.demand,
        route: exchange.route.clone(),
        matched_prefix: exchange.matched_prefix.clone(),
        backend: exchange.backend.clone(),
        pin: exchange.pin.clone(),
        traffic: exchange.traffic.clone(),
        places: exchange.places.clone(),
        judge: std::sync::Arc::clone(&exchange.judge),
        known: std::sync::Arc::clone(&exchange.known),
        ledger: std::sync::Arc::clone(&exchange.ledger),
        watches: exchange.watches.clone(),
        register: std::sync::Arc::clone(&exchange.register),
        closing: exchange.closing.clone(),
        trail: exchange.trail.clone(),
    };
    if let Err(denial) = ask(&mut one, upstreams).await {
        return refusal::refused(&scope, opened, &denial);
    }
    mcp.respond(&mut one, upstreams).await
}

/// Asks the external authorizers about one message: the filters asked about the request that holds it.
async fn ask(one: &mut Exchange, upstreams: &dyn Upstreams) -> Result<(), Denial> {
    for place in &one.places {
        for authorizer in one.judge.authorizers(place, &one.facts)? {
            if one.trail.is_authorized(&authorizer, &one.facts) {
                continue;
            }
            let changes = upstreams.authorize(&authorizer, &one.facts, &one.request).await?;
            changes.apply(one.request.headers_mut());
            one.trail.authorized(authorizer, &one.facts);
        }
    }
    Ok(())
}

/// For a request whose answer cannot be had.
fn lost(opened: &Opened) -> Bytes {
    let id = opened.message.as_ref().and_then(Message::request_id).map(crate::id::Id::value);
    crate::rejection::error_body(id, crate::rejection::INTERNAL_ERROR, "There is no answer", None)
}

fn streams(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|value| value.contains("text/event-stream") || value.contains("*/*"))
}

/// What was judged message by message already.
struct AsItIs;

impl Messages for AsItIs {
    fn message(&mut self, _: &Bytes) -> Passage {
        Passage::Pass
    }

    fn closed(&mut self, _: &Denial) -> Option<Bytes> {
        None
    }
}
