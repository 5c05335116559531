//! Answers exchanges with one MCP server.
//!
//! *Who is calling* is told to the server by the waypoint's own headers. The caller's `Authorization` and cookies go
//! on to a Service, which is what the caller addressed and meant them for; never to the server of an AgentBackend,
//! which the caller does not know. Sessions are pinned to the endpoint where they live; when it is gone, so are they,
//! and the answer is 404, on which callers begin anew.

use std::sync::Arc;

use aws_lc_rs::{aead::NONCE_LEN, rand};
use exchange::{
    Body, BoxFuture, CallError, Exchange, Known, Reply, Responder, Response, Upstreams, credential, messages,
    sse::Events,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use mesh::{
    Denial,
    facts::McpObject,
    names::{ObjectName, WorkloadUid},
    resource::{BackendKind, BackendTarget},
};

use crate::{
    batch,
    federation::{
        self, Openings,
        sessions::{Sessions, Upstream},
    },
    gate::{self, Counts, Gate},
    head::{SESSION, Verb},
    learn, listing,
    message::Message,
    names, onward,
    opening::{self, Opened, Opening},
    post::{self, Posts},
    refusal,
    rejection::{INVALID_REQUEST, Rejection},
    revision::Era,
    scope::Scope,
    session::{Sealer, Session, UPSTREAM_MAX},
    shelf::{Catalogued, Shelf, ToolRow},
    stream::Stream,
};

/// Bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long the body of a request may be, in bytes.
    pub body_bytes_max: usize,
    /// How long an answer that carries a list may be, in bytes. Others are streamed.
    pub list_bytes_max: usize,
    /// How long one event of a stream may be, in bytes.
    pub event_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { body_bytes_max: 4 << 20, list_bytes_max: 16 << 20, event_bytes_max: 16 << 20 }
    }
}

/// What servers of AgentBackends said of their tools, for whoever shows it. Clones are the same.
#[derive(Clone, Default)]
pub struct Tools {
    shelf: Arc<Shelf>,
    counts: Counts,
}

impl Tools {
    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What was said, beside what was approved. `catalogue_of` names the catalogue of a backend, if it has one.
    pub fn rows(
        &self,
        known: &dyn Known,
        catalogue_of: impl Fn(&ObjectName) -> Option<ObjectName>,
    ) -> Vec<ToolRow> {
        self.shelf.rows(|backend| match catalogue_of(backend) {
            None => Catalogued::No,
            Some(name) => known.catalogue(&name).map_or(Catalogued::Absent(name), Catalogued::Is),
        })
    }
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tools").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// The responder for the MCP servers behind a Service port or an AgentBackend.
pub struct Mcp {
    pub(crate) config: Config,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) openings: Openings,
    pub(crate) counts: Counts,
}

impl std::fmt::Debug for Mcp {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mcp").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Mcp {
    /// Serves within these bounds, with sessions sealed by `sealer`, and remembers in `tools` what servers say of
    /// theirs.
    pub fn new(config: Config, sealer: Arc<Sealer>, tools: Tools) -> Self {
        Self { config, sealer, shelf: tools.shelf, openings: Openings::default(), counts: tools.counts }
    }

    /// Where a request belongs by the session that it names, so that a rule with several backends leads it where
    /// the session lives. Only a hint: whose session it is, is checked when it is answered.
    pub fn begun_at(&self, headers: &HeaderMap) -> Option<BackendTarget> {
        let token = headers.get(&SESSION)?.to_str().ok()?;
        let one = Session::open(&self.sealer, token).map(|session| session.target);
        one.or_else(|| Sessions::open(&self.sealer, token).and_then(|sessions| sessions.target()))
    }

    async fn answer(&self, exchange: &mut Exchange, upstreams: &dyn Upstreams) -> Response {
        let opening = opening::of(&mut exchange.request, self.config.body_bytes_max).await;
        let opened = match &*opening.0 {
            Ok(opened) => opened,
            Err(rejection) => return refusal::rejected(&Scope::of(exchange), rejection, None),
        };
        note(exchange, opened);
        if !opened.batch.is_empty() {
            return batch::answer(self, exchange, upstreams, opened).await;
        }
        // The filters judged the message; what else it reaches for is judged here.
        if let Err(denial) = self.judge_more(&Scope::of(exchange), opened) {
            return refusal::refused(&Scope::of(exchange), opened, &denial);
        }
        if names::several(&exchange.backend).is_some() {
            let request = exchange.take_request();
            let Some(servers) = names::several(&exchange.backend) else {
                return self.no_answer(exchange, opened, &CallError::Unresolved("no server".into()));
            };
            return federation::answer(self, exchange, upstreams, request.headers(), opened, servers).await;
        }
        let target = match onward::target(&exchange.backend) {
            Ok(target) => target,
            Err(reason) => return self.no_answer(exchange, opened, &CallError::Unresolved(reason)),
        };
        let posted = match self.posted(exchange, opened) {
            Ok(posted) => posted,
            Err(rejection) => return refusal::rejected(&Scope::of(exchange), &rejection, None),
        };
        let session = match self.session(exchange, opened) {
            Ok(session) => session,
            Err(rejection) => return refusal::rejected(&Scope::of(exchange), &rejection, None),
        };
        let mut request = exchange.take_request();
        if let Err(error) =
            self.check_held(exchange, upstreams, request.headers(), opened, session.as_ref()).await
        {
            return match error {
                CallError::Denied(denial) => refusal::refused(&Scope::of(exchange), opened, &denial),
                error => self.no_answer(exchange, opened, &error),
            };
        }
        onward::prepare(&mut request, opened, &target, session.as_ref());
        if target.is_agents() {
            let applied = credential::apply(&*exchange.known, target.auth.as_ref(), request.headers_mut());
            if let Err(error) = applied {
                return self.no_answer(exchange, opened, &error);
            }
        }
        if let Some(place) = posted.as_ref().and_then(post::address) {
            *request.uri_mut() = place;
        }
        let mut call = exchange.call(target.backend.clone(), request);
        if let Some(session) = posted.as_ref().or(session.as_ref()) {
            call.pin = Some(session.endpoint.clone());
        }
        let reply = match upstreams.call(call).await {
            Ok(reply) => reply,
            Err(CallError::PinGone(_)) => {
                // What lived there is lost. The caller begins anew, as the protocol says for 404.
                return refusal::rejected(&Scope::of(exchange), &unknown_session(opened), None);
            }
            Err(error) => return self.no_answer(exchange, opened, &error),
        };
        // Now that the endpoint is known, its policies speak too.
        let scope = Scope::of(exchange);
        if let Err(denial) = self.judge_more(&scope, opened) {
            return refusal::refused(&scope, opened, &denial);
        }
        self.pass(exchange, opened, session, reply).await
    }

    /// Refuses a call of a tool of the one server of a backend that is held back.
    async fn check_held(
        &self,
        exchange: &Exchange,
        upstreams: &dyn Upstreams,
        headers: &HeaderMap,
        opened: &Opened,
        session: Option<&Session>,
    ) -> Result<(), CallError> {
        let McpObject::Tool { name, .. } = &opened.objects.facts.object else { return Ok(()) };
        let exchange::Backend::Agent(agent) = &exchange.backend else { return Ok(()) };
        let BackendKind::Mcp { servers } = &agent.kind else { return Ok(()) };
        let (Some(server), Some(key)) = (servers.first(), gate::only(exchange)) else { return Ok(()) };
        let catalogued = Scope::of(exchange).catalogued().clone();
        let session = session.map(|session| Upstream {
            server: Arc::clone(&server.name),
            endpoint: Some(session.endpoint.clone()),
            id: session.upstream.clone(),
            revision: opened.revision,
        });
        learn::check(self, &catalogued, &key, name, || {
            learn::learn_only(self, (exchange, upstreams), headers, opened, server, session, &key)
        })
        .await
    }

    /// Judges what a message reaches for beside what the filters judged.
    pub(crate) fn judge_more(&self, scope: &Scope, opened: &Opened) -> Result<(), Denial> {
        opened.objects.more.iter().try_for_each(|facts| scope.decide(facts.clone()))
    }

    fn gate(&self, exchange: &Exchange) -> Gate {
        Gate::new(Scope::of(exchange), &self.shelf, &self.counts, gate::only(exchange))
    }

    /// The session that a request names, if it is the caller's, of this target and this route.
    fn session(&self, exchange: &Exchange, opened: &Opened) -> Result<Option<Session>, Rejection> {
        let token = match &opened.head.session {
            Some(token) if opened.era() == Era::Sessions => token,
            _ => return Ok(None),
        };
        let session = Session::open(&self.sealer, token).ok_or_else(|| unknown_session(opened))?;
        if is_own(exchange, &session) { Ok(Some(session)) } else { Err(unknown_session(opened)) }
    }

    /// Where the server of an older transport takes a message, if its address says so.
    fn posted(&self, exchange: &Exchange, opened: &Opened) -> Result<Option<Session>, Rejection> {
        let Some(seal) = post::named(exchange.request.uri()) else { return Ok(None) };
        let session = post::open(&self.sealer, seal).filter(|session| is_own(exchange, session));
        let good = opened.message.is_some() && opened.era() == Era::Sessions;
        session.filter(|_| good).map(Some).ok_or_else(|| unknown_session(opened))
    }

    /// Passes a server's answer on.
    async fn pass(
        &self,
        exchange: &Exchange,
        opened: &Opened,
        session: Option<Session>,
        reply: Reply,
    ) -> Response {
        let Reply { mut response, endpoint } = reply;
        let posts = (opened.head.verb == Verb::Get).then(|| Posts {
            sealer: Arc::clone(&self.sealer),
            of: Session {
                principal: Scope::of(exchange).principal(),
                target: exchange.backend.target(),
                route: exchange.route.as_ref().map(ToString::to_string),
                endpoint: endpoint.clone(),
                upstream: String::new(),
            },
        });
        if let Err(text) = self.seal(exchange, opened, session, endpoint, response.headers_mut()) {
            return self.bad_answer(exchange, opened, text);
        }
        let request = opened.message.as_ref().and_then(Message::request_id).cloned();
        // A resumed stream may carry the answer to a request that is not known here.
        let lists =
            opened.message.as_ref().is_none_or(|message| !listing::has_no_list(message.method_name()));
        match kind(response.headers()) {
            Kind::Other if lists && response.status() == StatusCode::OK && request.is_some() => {
                self.bad_answer(exchange, opened, "the answer is neither JSON nor a stream of events")
            }
            Kind::Other => response,
            Kind::Encoded => {
                self.bad_answer(exchange, opened, "the answer is compressed, which was not asked for")
            }
            Kind::Events => {
                let stream = Stream::new(Scope::of(exchange), self.gate(exchange), request, lists, posts);
                let events = Events::new(self.config.event_bytes_max);
                let body = std::mem::take(response.body_mut());
                *response.body_mut() =
                    messages::through(body, Box::new(events), Box::new(stream), &exchange.closing);
                response.headers_mut().remove(header::CONTENT_LENGTH);
                response
            }
            Kind::Json if lists => self.filter(exchange, opened, response).await,
            Kind::Json => response,
        }
    }

    /// Passes a JSON answer on, without what is hidden in its lists.
    async fn filter(&self, exchange: &Exchange, opened: &Opened, mut response: Response) -> Response {
        let body = match response.body_mut().hold(self.config.list_bytes_max).await {
            Ok(body) => body.clone(),
            Err(error) => return self.bad_answer(exchange, opened, &error.to_string()),
        };
        if body.is_empty() {
            return response;
        }
        let gate = self.gate(exchange);
        match listing::filter(&body, |facts, entry| gate.passes(facts, entry)) {
            Ok(None) => response,
            Ok(Some(other)) => {
                response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(other.len()));
                *response.body_mut() = Body::held_bytes(other);
                response
            }
            Err(error) => self.bad_answer(exchange, opened, &error.to_string()),
        }
    }

    /// Puts a token in the place of the server's session id.
    fn seal(
        &self,
        exchange: &Exchange,
        opened: &Opened,
        session: Option<Session>,
        endpoint: WorkloadUid,
        headers: &mut HeaderMap,
    ) -> Result<(), &'static str> {
        let Some(upstream) = headers.remove(&SESSION) else { return Ok(()) };
        if opened.era() == Era::Stateless {
            // There are no sessions in this revision; an id would only confuse.
            return Ok(());
        }
        let upstream = upstream.to_str().map_err(|_| "the session id is not printable")?;
        if upstream.is_empty() || upstream.len() > UPSTREAM_MAX {
            return Err("the session id is empty or too long");
        }
        let token = match (session, &opened.head.session) {
            (Some(session), Some(token)) if session.upstream == upstream => token.to_string(),
            _ => {
                let session = Session {
                    principal: Scope::of(exchange).principal(),
                    target: exchange.backend.target(),
                    route: exchange.route.as_ref().map(ToString::to_string),
                    endpoint,
                    upstream: upstream.to_owned(),
                };
                let mut nonce = [0; NONCE_LEN];
                rand::fill(&mut nonce).map_err(|_| "there is no randomness for a session token")?;
                session.seal(&self.sealer, nonce).ok_or("the session token cannot be sealed")?
            }
        };
        let token = HeaderValue::try_from(token).map_err(|_| "the session token is no header value")?;
        headers.insert(SESSION, token);
        Ok(())
    }

    pub(crate) fn no_answer(&self, exchange: &Exchange, opened: &Opened, error: &CallError) -> Response {
        if let CallError::Denied(denial) = error {
            return refusal::refused(&Scope::of(exchange), opened, denial);
        }
        let named = error.denial().map(|denial| (denial.reason, exchange.refused(denial)));
        if named.is_none() {
            exchange.trail.failed(error);
        }
        let text = error.status().canonical_reason().unwrap_or("Failed");
        refusal::failed(opened, error.status(), text, named.as_ref().map(|(reason, id)| (*reason, id)))
    }

    fn bad_answer(&self, exchange: &Exchange, opened: &Opened, text: &str) -> Response {
        exchange.trail.failed(text);
        refusal::failed(opened, StatusCode::BAD_GATEWAY, "The server's answer cannot be passed on", None)
    }
}

impl Responder for Mcp {
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
                let rejection = Rejection::new(StatusCode::FORBIDDEN, INVALID_REQUEST, "Forbidden");
                refusal::rejected(&scope, &rejection, Some(denial))
            }
        }
    }
}

/// A session is of one caller, one target, one route and, where one was addressed, one endpoint.
fn is_own(exchange: &Exchange, session: &Session) -> bool {
    session.principal == Scope::of(exchange).principal()
        && session.target == exchange.backend.target()
        && session.route == exchange.route.as_ref().map(ToString::to_string)
        && exchange.pin.as_ref().is_none_or(|pin| *pin == session.endpoint)
}

fn note(exchange: &Exchange, opened: &Opened) {
    let Some(message) = &opened.message else { return };
    exchange.trail.note("mcp.method", shown(message.method_name()));
    if let Some(name) = message.param("name").or_else(|| message.param("uri")) {
        exchange.trail.note("mcp.name", shown(name));
    }
}

/// A text of a caller, as much of it as a log should carry.
fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 256;
    text.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect()
}

pub(crate) fn unknown_session(opened: &Opened) -> Rejection {
    let id = opened.message.as_ref().and_then(Message::request_id).cloned();
    Rejection::new(StatusCode::NOT_FOUND, INVALID_REQUEST, "Session not found").of(id)
}

/// What an answer carries.
pub(crate) enum Kind {
    Json,
    Events,
    Encoded,
    Other,
}

pub(crate) fn kind(headers: &HeaderMap) -> Kind {
    let encoded = headers.get_all(header::CONTENT_ENCODING).iter().any(|value| value != "identity");
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/event-stream" if encoded => Kind::Encoded,
        "application/json" => Kind::Json,
        "text/event-stream" => Kind::Events,
        _ => Kind::Other,
    }
}
