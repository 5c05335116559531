//! Several servers as one.
//!
//! Lists are merged, what names a thing goes to its server, what a server asks comes back to it and to no other. A
//! server that is down costs its own things and nothing else. All state is in what callers hold, sealed; what is kept
//! here ([`Openings`]) only saves opening a session twice.

mod direct;
mod hello;
mod lists;
pub(crate) mod merge;
mod openings;
mod rewrite;
pub(crate) mod sessions;
mod streams;
mod teller;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use exchange::{CallError, Exchange, Response, Upstreams};
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode};
use mesh::{facts::McpFacts, names::ObjectName, resource::McpServer};
use serde_json::{Value, json};

pub(crate) use self::openings::Openings;
use self::{
    rewrite::Rewriter,
    sessions::{Sessions, Upstream},
};
use crate::{
    courier::{Came, Courier, Parcel, bare, within},
    head::Verb,
    id::Id,
    message::{Kind, Message},
    object::base_facts,
    opening::Opened,
    refusal,
    rejection::{INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Rejection},
    respond::{Mcp, unknown_session},
    revision::{Era, Revision},
    scope::Scope,
};

/// How many servers are asked at once.
const FAN_MAX: usize = 16;
/// How long one of many servers may take to answer before the others are answered without it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// One exchange with several servers.
pub(crate) struct Federation<'e> {
    mcp: &'e Mcp,
    exchange: &'e Exchange,
    opened: &'e Opened,
    courier: Courier<'e>,
    backend: ObjectName,
    servers: &'e [McpServer],
    sessions: Option<Sessions>,
    bound: Arc<str>,
}

/// Answers an exchange whose backend has several servers.
pub(crate) async fn answer(
    mcp: &Mcp,
    exchange: &Exchange,
    upstreams: &dyn Upstreams,
    headers: &HeaderMap,
    opened: &Opened,
    servers: &[McpServer],
) -> Response {
    let exchange::Backend::Agent(agent) = &exchange.backend else {
        return mcp.no_answer(exchange, opened, &CallError::Unresolved("a Service has one server".into()));
    };
    if let Some(broken) = &agent.broken {
        return mcp.no_answer(exchange, opened, &CallError::Unresolved(Arc::clone(broken)));
    }
    if servers.len() > sessions::SERVERS_MAX {
        let text = format!("more than {} servers", sessions::SERVERS_MAX);
        return mcp.no_answer(exchange, opened, &CallError::Unresolved(text.into()));
    }
    let principal = Scope::of(exchange).principal();
    let mut federation = Federation {
        mcp,
        exchange,
        opened,
        courier: Courier::new(exchange, upstreams, headers),
        backend: agent.name.clone(),
        servers,
        sessions: None,
        bound: format!("{principal} at {}", agent.name).into(),
    };
    match federation.session(principal) {
        Ok(sessions) => federation.sessions = sessions,
        Err(rejection) => return federation.rejected(&rejection),
    }
    federation.route().await
}

impl Federation<'_> {
    /// What becomes of each message.
    async fn route(&self) -> Response {
        let message = match (self.opened.head.verb, &self.opened.message) {
            (Verb::Get, _) => return self.listen().await,
            (Verb::Delete, _) => return self.end().await,
            (Verb::Post, Some(message)) => message,
            (Verb::Post, None) => return accepted(),
        };
        match (&message.kind, message.method_name()) {
            (Kind::Response(id), _) => self.bring_back(message, id).await,
            (Kind::Notification, "notifications/progress") => self.progress(message).await,
            (Kind::Notification, _) => {
                self.tell_all(message).await;
                accepted()
            }
            (Kind::Request(id), "initialize") => self.initialize(message, id).await,
            (Kind::Request(id), "server/discover") => self.discover(message, id).await,
            (Kind::Request(id), "ping") => self.result(id, json!({})),
            (Kind::Request(id), "logging/setLevel") => {
                self.tell_all(message).await;
                self.result(id, json!({}))
            }
            (
                Kind::Request(id),
                "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list",
            ) => self.list(message, id).await,
            (Kind::Request(id), "subscriptions/listen") => self.subscribe(message, id).await,
            (
                Kind::Request(id),
                "tools/call"
                | "prompts/get"
                | "resources/read"
                | "resources/subscribe"
                | "resources/unsubscribe"
                | "completion/complete",
            ) => self.direct(message, id).await,
            (Kind::Request(id), _) => {
                let text = "Several servers as one do not serve this method";
                let status = match self.opened.era() {
                    Era::Sessions => StatusCode::OK,
                    Era::Stateless => StatusCode::NOT_FOUND,
                };
                self.rejected(&Rejection::new(status, METHOD_NOT_FOUND, text).of(Some(id.clone())))
            }
        }
    }

    /// The session that a request names, if it is the caller's, of this backend and this route.
    fn session(&self, principal: String) -> Result<Option<Sessions>, Rejection> {
        if self.opened.era() == Era::Stateless {
            return Ok(None);
        }
        let opens = self.opened.message.as_ref().is_some_and(|message| message.method_name() == "initialize");
        let Some(token) = &self.opened.head.session else {
            if opens {
                return Ok(None);
            }
            let id = self.opened.message.as_ref().and_then(Message::request_id).cloned();
            let text = "The request names no session: begin with initialize";
            return Err(Rejection::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, text).of(id));
        };
        let sessions = Sessions::open(&self.mcp.sealer, token);
        let own = |sessions: &Sessions| sessions.principal == principal && sessions.place == self.place();
        sessions.filter(own).map(Some).ok_or_else(|| unknown_session(self.opened))
    }

    fn place(&self) -> String {
        match &self.exchange.route {
            Some(route) => format!("{} by {route}", self.backend),
            None => self.backend.to_string(),
        }
    }

    /// The session at a server, if there is one. In the newest revision nobody has any.
    fn known(&self, server: &McpServer) -> Option<Upstream> {
        match self.opened.era() {
            Era::Stateless => Some(bare(server, self.opened.revision)),
            Era::Sessions => {
                let token = self.opened.head.session.as_deref()?;
                let later = self.mcp.openings.get(token, &server.name);
                let first =
                    || self.sessions.as_ref()?.servers.iter().find(|it| it.server == server.name).cloned();
                later.or_else(first)
            }
        }
    }

    /// Sends to one server, in the caller's session there. One that is not there, or no longer, is opened first.
    async fn send(&self, server: &McpServer, parcel: impl Fn() -> Parcel) -> Result<Came, CallError> {
        if let Some(session) = self.known(server) {
            match self.courier.send(server, &session, parcel()).await {
                Ok(came) if came.response.status() == StatusCode::NOT_FOUND && !session.id.is_empty() => {}
                Err(CallError::PinGone(_)) => {}
                other => return other,
            }
        }
        let session = self.open_again(server).await?;
        self.courier.send(server, &session, parcel()).await
    }

    /// Asks many servers at once; each answer by its server's place among them.
    async fn ask_all<T, F: Future<Output = Result<T, CallError>>>(
        &self,
        servers: impl IntoIterator<Item = usize>,
        ask: impl Fn(usize) -> F,
    ) -> Vec<(usize, Result<T, CallError>)> {
        let asked = servers.into_iter().map(|at| {
            let asking = ask(at);
            async move { (at, within(PATIENCE, asking).await) }
        });
        let mut answers: Vec<_> = stream::iter(asked).buffer_unordered(FAN_MAX).collect().await;
        answers.sort_by_key(|(at, _)| *at);
        answers
    }

    /// Writes down that a server has no answer, for the log, the count and, by name, the caller.
    fn lost(&self, at: usize, error: &CallError) {
        self.mcp.counts.lost();
        self.exchange.trail.failed(format!("{}: {error}", self.servers[at].name));
    }

    fn rewriter(&self, at: usize) -> Rewriter {
        Rewriter {
            server: Arc::clone(&self.servers[at].name),
            sealer: Arc::clone(&self.mcp.sealer),
            bound: Arc::clone(&self.bound),
        }
    }

    fn scope(&self, at: usize, came: &Came) -> Scope {
        Scope::at(self.exchange, &self.servers[at].name, came.places.clone())
    }

    /// Tells every server: what is said to one of them is said to all.
    async fn tell_all(&self, message: &Message) {
        let facts = self.opened.objects.facts.clone();
        let told = self.ask_all(0..self.servers.len(), |at| {
            let (raw, facts) = (message.raw.clone(), facts.clone());
            async move {
                let server = &self.servers[at];
                // Who has no session there needs to be told nothing.
                let Some(session) = self.known(server) else { return Ok(()) };
                self.courier.send(server, &session, Parcel::post(raw, facts, None)).await.map(|_| ())
            }
        });
        for (at, answer) in told.await {
            if let Err(error) = answer {
                self.lost(at, &error);
            }
        }
    }

    /// The end of a session is told to every server that has one.
    async fn end(&self) -> Response {
        let ended = self.ask_all(0..self.servers.len(), |at| async move {
            let server = &self.servers[at];
            let Some(session) = self.known(server).filter(|session| !session.id.is_empty()) else {
                return Ok(());
            };
            let parcel = Parcel { verb: Method::DELETE, ..Parcel::post(Bytes::new(), base_facts(), None) };
            self.courier.send(server, &session, parcel).await.map(|_| ())
        });
        for (at, answer) in ended.await {
            if let Err(error) = answer
                && !matches!(error, CallError::PinGone(_))
            {
                self.lost(at, &error);
            }
        }
        if let Some(token) = self.opened.head.session.as_deref() {
            self.mcp.openings.forget(token);
        }
        status(StatusCode::OK)
    }

    /// Why a call of one server came to nothing.
    fn no_answer(&self, at: usize, error: &CallError) -> Response {
        self.lost(at, error);
        self.mcp.no_answer(self.exchange, self.opened, error)
    }

    fn rejected(&self, rejection: &Rejection) -> Response {
        refusal::rejected(&Scope::of(self.exchange), rejection, None)
    }

    fn invalid(&self, id: &Id, text: &str) -> Response {
        let status = match self.opened.era() {
            Era::Sessions => StatusCode::OK,
            Era::Stateless => StatusCode::BAD_REQUEST,
        };
        self.rejected(&Rejection::new(status, INVALID_PARAMS, text).of(Some(id.clone())))
    }

    fn result(&self, id: &Id, mut result: Value) -> Response {
        if self.opened.era() == Era::Stateless && result.get("resultType").is_none() {
            result["resultType"] = "complete".into();
        }
        let body = json!({"jsonrpc": "2.0", "id": id.value(), "result": result});
        refusal::json_response(StatusCode::OK, Bytes::from(body.to_string()))
    }

    /// The `_meta` of the caller's own request, as it goes on in a request that is made here.
    fn meta(&self) -> Option<Value> {
        let mut meta = self.opened.message.as_ref()?.params.get("_meta")?.clone();
        meta.as_object_mut()?.shift_remove("progressToken");
        Some(meta)
    }

    /// What the message acts on, as it was judged.
    fn facts(&self) -> McpFacts {
        self.exchange.facts.mcp.known().unwrap_or(&self.opened.objects.facts).clone()
    }

    fn revision(&self) -> Revision {
        self.sessions.as_ref().map_or(self.opened.revision, |sessions| sessions.revision)
    }
}

fn accepted() -> Response {
    status(StatusCode::ACCEPTED)
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::new(exchange::Body::empty());
    *response.status_mut() = status;
    response
}
