//! Answers exchanges with one A2A agent.
//!
//! *Who is calling* is told to the agent by the waypoint's own headers. Tasks and contexts are led to the endpoint
//! where they live. When it is gone, another one of the same backend is asked: agents that share a store still know
//! them, and others say themselves that they do not.

use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use bytes::Bytes;
use exchange::{
    Backend, Body, BoxFuture, CallError, Exchange, Reply, Request, Responder, Response, Upstreams,
    json::{self, Keys},
    messages,
    sse::Events,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use mesh::{
    Denial, Facts, Reason,
    names::WorkloadUid,
    resource::{BackendKind, BackendTarget},
};
use serde_json::Value;

use crate::{
    card::{self, Names},
    contexts::{Begun, Contexts},
    fault::{Fault, Rejection, Voice},
    fields,
    ids::{Ids, NotTaken},
    method::{Known, Version},
    onward,
    opening::{self, Binding, Opened, Opening},
    push, refusal,
    scope::{Scope, principal},
    seal::{Kind as Sealed, Sealer, owner},
    stream::Stream,
};

/// Bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long the body of a request may be, in bytes.
    pub body_bytes_max: usize,
    /// How long an answer may be, in bytes.
    pub answer_bytes_max: usize,
    /// How long a card may be, in bytes.
    pub card_bytes_max: usize,
    /// How long one event of a stream may be, in bytes.
    pub event_bytes_max: usize,
    /// How many contexts are remembered whose ids callers chose themselves.
    pub contexts_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            answer_bytes_max: 16 << 20,
            card_bytes_max: 1 << 20,
            event_bytes_max: 16 << 20,
            contexts_max: 16 * 1024,
        }
    }
}

/// The responder for an A2A agent behind a Service port or an AgentBackend.
#[derive(Debug)]
pub struct A2a {
    config: Config,
    sealer: Arc<Sealer>,
    contexts: Contexts,
}

impl A2a {
    /// Serves within these bounds, with ids sealed by `sealer`.
    pub fn new(config: Config, sealer: Arc<Sealer>) -> Self {
        let contexts = Contexts::new(config.contexts_max);
        Self { config, sealer, contexts }
    }

    /// Where a request that was read belongs by the task or context that it names, so that a rule with several
    /// backends leads it where that lives. Only a hint: whose it is, is checked when it is answered.
    pub fn begun_at(&self, request: &Request, facts: &Facts) -> Option<BackendTarget> {
        let opening = request.extensions().get::<Opening>()?;
        let Ok(opened) = &*opening.0 else { return None };
        let message = opened.message();
        let within = |name: &str| message.and_then(|message| fields::text(message, name));
        let of_path = match &opened.binding {
            Binding::Http { resource, .. } => resource.task.as_deref(),
            Binding::Rpc(_) => None,
        };
        let context = within("contextId").or_else(|| opened.text("contextId"));
        let named = [
            of_path,
            within("taskId"),
            opened.text("taskId"),
            opened.text("id"),
            context,
            opened.text("pageToken"),
        ];
        let sealed = named.into_iter().flatten().find_map(|token| self.sealer.open(token));
        sealed.map(|sealed| sealed.target).or_else(|| {
            let begun = self.contexts.get(&remembered(facts, context?))?;
            Some(begun.target)
        })
    }

    async fn answer(&self, exchange: &mut Exchange, upstreams: &dyn Upstreams) -> Response {
        let opening = opening::of(&mut exchange.request, self.config.body_bytes_max).await;
        let mut opened = match &*opening.0 {
            Ok(opened) => opened.clone(),
            Err(rejection) => return refusal::rejected(&Scope::of(exchange), rejection, None),
        };
        note(exchange, &opened);
        let target = match onward::target(&exchange.backend) {
            Ok(target) => target,
            Err(reason) => return self.no_answer(exchange, &opened, &CallError::Unresolved(reason)),
        };
        let scope = Scope::of(exchange);
        if let Err(text) = posts_in_public(exchange, &opened) {
            return refusal::refused(&scope, &opened, &Denial::plain(Reason::PrivateAddress, text));
        }
        let route = exchange.route.as_ref().map(ToString::to_string);
        let mut ids = Ids::new(
            Arc::clone(&self.sealer),
            scope.principal(),
            route.as_deref(),
            exchange.backend.target(),
        );
        let mut chance = [0; 8];
        if rand::fill(&mut chance).is_err() {
            return self.bad_answer(exchange, &opened, "there is no randomness for a context");
        }
        if let Err(not_taken) = ids.inward(&mut opened, chance) {
            return refused_id(&scope, &opened, not_taken);
        }
        let held = exchange.request.body().held().cloned().unwrap_or_default();
        let head = exchange.take_request().into_parts().0;
        let pin = ids.pin.clone().or_else(|| self.remembered_endpoint(exchange, &ids));
        let reply = match self.call(exchange, upstreams, (&head, &opened, &held), target, pin).await {
            Ok(reply) => reply,
            Err(error) => return self.no_answer(exchange, &opened, &error),
        };
        if opened.method.sends()
            && let Some(chosen) = &ids.chosen
        {
            let begun = Begun { target: exchange.backend.target(), endpoint: reply.endpoint.clone() };
            self.contexts.put(remembered(&exchange.facts, chosen), begun);
        }
        self.pass(exchange, &opened, &ids, &head, reply).await
    }

    /// Where a context lives whose id the caller chose itself.
    fn remembered_endpoint(&self, exchange: &Exchange, ids: &Ids) -> Option<WorkloadUid> {
        let begun = self.contexts.get(&remembered(&exchange.facts, ids.chosen.as_deref()?))?;
        (begun.target == exchange.backend.target()).then_some(begun.endpoint)
    }

    /// Asks the endpoint where the task or context lives, or another one when that is gone.
    async fn call(
        &self,
        exchange: &Exchange,
        upstreams: &dyn Upstreams,
        (head, opened, held): (&Parts, &Opened, &Bytes),
        target: BackendTarget,
        pin: Option<WorkloadUid>,
    ) -> Result<Reply, CallError> {
        let wrong = || CallError::Unresolved("the request has no form for the agent".into());
        let request = || onward::request(head, opened, held);
        let mut call = exchange.call(target.clone(), request().ok_or_else(wrong)?);
        let addressed = call.pin.clone();
        let pinned = pin.is_some() && addressed.is_none();
        call.pin = addressed.or(pin);
        match upstreams.call(call).await {
            Err(CallError::PinGone(_)) if pinned => {
                let request = request().ok_or_else(wrong)?;
                upstreams.call(exchange.call(target, request)).await
            }
            other => other,
        }
    }

    /// Passes an agent's answer on.
    async fn pass(
        &self,
        exchange: &Exchange,
        opened: &Opened,
        ids: &Ids,
        head: &Parts,
        reply: Reply,
    ) -> Response {
        let Reply { mut response, endpoint } = reply;
        let status = response.status();
        if status.is_redirection() {
            return self.bad_answer(
                exchange,
                opened,
                "the agent sends elsewhere, which would lead past the mesh",
            );
        }
        let card = matches!(opened.method.known, Some(Known::Card | Known::ExtendedCard));
        if status.is_client_error() || status.is_server_error() {
            // What an agent says of a failure is the caller's to read, but no card.
            return response;
        }
        let kind = kind(response.headers());
        match kind {
            Kind::Encoded => {
                self.bad_answer(exchange, opened, "the answer is compressed, which was not asked for")
            }
            Kind::Json if card => self.card(exchange, opened, head, response).await,
            Kind::Json => self.json(exchange, opened, ids, &endpoint, response).await,
            Kind::Events if !card => {
                let stream = Stream::new(Scope::of(exchange), opened.voice.clone(), ids.clone(), endpoint);
                let events = Events::new(self.config.event_bytes_max);
                let body = std::mem::take(response.body_mut());
                *response.body_mut() =
                    messages::through(body, Box::new(events), Box::new(stream), &exchange.closing);
                response.headers_mut().remove(header::CONTENT_LENGTH);
                response
            }
            _ if response.body().is_empty() && !card => response,
            _ => self.bad_answer(exchange, opened, "the answer is neither JSON nor a stream of events"),
        }
    }

    /// Passes a JSON answer on.
    async fn json(
        &self,
        exchange: &Exchange,
        opened: &Opened,
        ids: &Ids,
        endpoint: &WorkloadUid,
        mut response: Response,
    ) -> Response {
        let body = match response.body_mut().hold(self.config.answer_bytes_max).await {
            Ok(body) => body.clone(),
            Err(error) => return self.bad_answer(exchange, opened, &error.to_string()),
        };
        if body.is_empty() {
            return response;
        }
        let mut value = match json::parse(&body, Keys::Equal) {
            Ok(value) => value,
            Err(error) => return self.bad_answer(exchange, opened, &error.to_string()),
        };
        let lists = opened.method.known == Some(Known::List);
        let said = match &opened.voice {
            Voice::Rpc { .. } => match value.as_object_mut() {
                Some(object) => object.get_mut("result"),
                None => return self.bad_answer(exchange, opened, "the answer is no JSON-RPC message"),
            },
            Voice::Http(_) => Some(&mut value),
        };
        if let Some(said) = said
            && let Err(error) = ids.outward(said, endpoint, lists)
        {
            return self.bad_answer(exchange, opened, &error.to_string());
        }
        with_body(response, value.to_string())
    }

    /// Passes a card on, made to lead through the mesh, with the skills that the caller may use.
    async fn card(
        &self,
        exchange: &Exchange,
        opened: &Opened,
        head: &Parts,
        mut response: Response,
    ) -> Response {
        let body = match response.body_mut().hold(self.config.card_bytes_max).await {
            Ok(body) => body.clone(),
            Err(error) => return self.bad_answer(exchange, opened, &error.to_string()),
        };
        let Some(names) = names(exchange, head) else {
            return self.bad_answer(exchange, opened, "the request does not say by which name it came");
        };
        let scope = Scope::of(exchange);
        let shows = |skill: &str| scope.shows(skill);
        let value = match &opened.voice {
            Voice::Http(_) => card::rewrite(&body, &names, shows),
            Voice::Rpc { .. } => {
                json::parse(&body, Keys::EqualButForCase).map_err(Into::into).and_then(|mut value| {
                    let failed = value.get("error").is_some();
                    match value.get_mut("result") {
                        Some(result) => card::change(result, &names, shows)?,
                        None if failed => {}
                        None => return Err(card::CardError::Shape("the whole")),
                    }
                    Ok(value)
                })
            }
        };
        let value = match value {
            Ok(value) => value,
            Err(error) => return self.bad_answer(exchange, opened, &error.to_string()),
        };
        let text = value.to_string();
        let tag = format!("\"{}\"", hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()));
        let unchanged = opened.method.known == Some(Known::Card) && has_tag(&head.headers, &tag);
        let mut response = with_body(response, text);
        if unchanged {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response.headers_mut().remove(header::CONTENT_LENGTH);
            response.headers_mut().remove(header::CONTENT_TYPE);
        }
        if unchanged || head.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        let headers = response.headers_mut();
        for name in [header::LAST_MODIFIED, header::EXPIRES, header::AGE] {
            headers.remove(name);
        }
        // It is for this caller, and changes with policy and the name by which it is asked for.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::VARY, HeaderValue::from_static("authorization, host"));
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }

    fn no_answer(&self, exchange: &Exchange, opened: &Opened, error: &CallError) -> Response {
        if let CallError::Denied(denial) = error {
            return refusal::refused(&Scope::of(exchange), opened, denial);
        }
        let recorded = error.denial().map(|denial| (denial.reason, exchange.refused(denial)));
        if recorded.is_none() {
            exchange.trail.failed(error);
        }
        // What went wrong inside is for the log; the caller learns only which kind of failure it was.
        let text = error.status().canonical_reason().unwrap_or("Failed");
        opened.voice.answer(Fault::Internal, error.status(), text, recorded.as_ref())
    }

    fn bad_answer(&self, exchange: &Exchange, opened: &Opened, text: &str) -> Response {
        exchange.trail.failed(text);
        opened.voice.answer(
            Fault::BadAnswer,
            StatusCode::BAD_GATEWAY,
            "The agent's answer cannot be passed on",
            None,
        )
    }
}

impl Responder for A2a {
    fn respond<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        upstreams: &'a dyn Upstreams,
    ) -> BoxFuture<'a, Response> {
        Box::pin(self.answer(exchange, upstreams))
    }

    fn refuse(&self, exchange: &Exchange, denial: &Denial) -> Response {
        let scope = Scope::of(exchange);
        match exchange.request.extensions().get::<Opening>().map(|opening| &*opening.0) {
            Some(Ok(opened)) => refusal::refused(&scope, opened, denial),
            // Only the message's own fault can be the reason for a denial to somebody who is granted something.
            Some(Err(rejection)) => refusal::rejected(&scope, rejection, Some(denial)),
            None => {
                let rejection = Rejection {
                    fault: Fault::Forbidden,
                    status: StatusCode::FORBIDDEN,
                    reason: denial.reason,
                    said: "Forbidden".to_owned(),
                    voice: Voice::Rpc { version: Version::V03, id: Value::Null },
                };
                refusal::rejected(&scope, &rejection, Some(denial))
            }
        }
    }
}

/// Under what a context is remembered: whose it is, at the name that was asked.
fn remembered(facts: &Facts, chosen: &str) -> String {
    let host = facts.http.known().map_or("", |http| &*http.host);
    let whose = format!("{}:{host}:{}", host.len(), principal(facts));
    owner(&whose, Some(chosen))
}

/// Refuses a request that has the agent post what becomes of a task to where it may not.
fn posts_in_public(exchange: &Exchange, opened: &Opened) -> Result<(), String> {
    let hosts = hosts(&exchange.backend);
    let asked_as = exchange.facts.http.known().map(|http| &*http.host);
    let own: Vec<&str> = hosts.iter().map(String::as_str).chain(asked_as).collect();
    push::asked(opened).into_iter().try_for_each(|url| {
        push::check(url, &own)
            .map_err(|why| format!("the URL for push notifications may not be called: {why}"))
    })
}

fn refused_id(scope: &Scope, opened: &Opened, not_taken: NotTaken) -> Response {
    match not_taken {
        NotTaken::NotYours(kind) => {
            let text = match kind {
                Sealed::Task => "the task is not one of this caller's, or not here",
                Sealed::Context => "the context is not one of this caller's, or not here",
                Sealed::Page => "the page is not one of this caller's, or not here",
            };
            refusal::refused(scope, opened, &Denial::plain(Reason::NotYours, text))
        }
        NotTaken::Malformed => {
            let rejection = Rejection {
                fault: Fault::InvalidParams,
                status: StatusCode::BAD_REQUEST,
                reason: Reason::Malformed,
                said: "An id is not a text of bounded length".to_owned(),
                voice: opened.voice.clone(),
            };
            refusal::rejected(scope, &rejection, None)
        }
    }
}

fn note(exchange: &Exchange, opened: &Opened) {
    exchange.trail.note("a2a.method", opened.method.name.to_string());
    if let Some(tenant) = &opened.tenant {
        const SHOWN_MAX: usize = 256;
        let shown: String = tenant.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect();
        exchange.trail.note("a2a.tenant", shown);
    }
}

/// The names by which an agent's card may call it.
fn names(exchange: &Exchange, head: &Parts) -> Option<Names> {
    // As the caller said it: a filter may have written another one into the request.
    let asked = exchange.facts.http.known().and_then(|http| http.headers.get("host")).map(|host| &**host);
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = asked.or(head.uri.authority().map(|authority| authority.as_str())).or(host)?;
    let authority: http::uri::Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let secure = head.uri.scheme_str() == Some("https")
        || head.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let mut hosts: std::collections::BTreeSet<String> = hosts(&exchange.backend).into_iter().collect();
    hosts.insert(authority.host().to_ascii_lowercase());
    Some(Names { scheme: if secure { "https" } else { "http" }, authority: authority.to_string(), hosts })
}

/// Every host that leads to this backend, in lower case.
fn hosts(backend: &Backend) -> Vec<String> {
    let mut hosts = Vec::new();
    match backend {
        Backend::Service { .. } | Backend::Nowhere => hosts.extend(hosts_of(&backend.target())),
        Backend::Agent(agent) => {
            hosts.extend(agent.hostnames.iter().map(ToString::to_string));
            if let BackendKind::A2a { target, .. } = &agent.kind {
                hosts.extend(hosts_of(target));
            }
        }
    }
    hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
}

fn hosts_of(target: &BackendTarget) -> Vec<String> {
    match target {
        BackendTarget::Service { service, .. } => {
            // The short forms by which its neighbours know it: `name`, `name.namespace`, `name.namespace.svc`.
            let full = service.hostname.to_string();
            let mut ends: Vec<usize> = full.match_indices('.').take(3).map(|(at, _)| at).collect();
            ends.push(full.len());
            ends.into_iter().map(|end| full[..end].to_owned()).collect()
        }
        BackendTarget::Host(host) => vec![host.host.to_string()],
        BackendTarget::Agent(_) | BackendTarget::Broken(_) => Vec::new(),
    }
}

fn with_body(mut response: Response, text: String) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    // What the agent said of its own bytes is not true of these.
    for name in [header::ETAG, header::CONTENT_RANGE, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    *response.body_mut() = Body::held_bytes(text);
    response
}

fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|it| it == "*" || it.trim_start_matches("W/") == tag)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Events,
    Encoded,
    Other,
}

fn kind(headers: &HeaderMap) -> Kind {
    let encoded = headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        _ if encoded => Kind::Encoded,
        "application/json" | "application/a2a+json" => Kind::Json,
        "text/event-stream" => Kind::Events,
        _ => Kind::Other,
    }
}
