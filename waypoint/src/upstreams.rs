//! Reaches backends on behalf of callers: chooses an endpoint, asks its policies, connects, sends, and tries again
//! where that is allowed.
//!
//! *Flow*: choose under the snapshot of the moment (pure, in [`choose`]), judge the chosen endpoint's port, take or
//! open a connection of this caller ([`pool`]), send. *Guarantees*: one connection carries one caller; what was sent
//! once is sent again only if its body is at hand and the rule or the method allows it. *Caveats*: a request whose
//! body streams is never sent twice.

pub mod choose;
pub mod dial;
pub mod guarded;
pub mod headers;
mod outside;
pub mod pool;
pub mod speaks;
pub mod suspects;
mod tries;

use std::{sync::Arc, time::Duration};

use exchange::{
    Asking, BoxFuture, Call, CallError, Changes, Judge, Place, Purpose, Reply, Request, Upstream, Upstreams,
};
use mesh::{
    Denial, Facts, Reason,
    hop::At,
    names::{ServiceKey, WorkloadUid},
    resource::{Authorizer, BackendTarget, ExternalHost, Protocol, Retries, Traffic},
};
use runtime::{Spans, spans::Link};
use transport::{DialError, Fault};

use self::{
    choose::{Choosing, Wish},
    dial::{Dial, Way},
    guarded::{Resolve, SystemResolver},
    outside::Outside,
    pool::{HttpPool, Key, Opened, Tried, Unopened},
    speaks::Speaks,
    suspects::Suspects,
    tries::{Failed, Stage, Tries, again, is_idempotent},
};
use crate::{
    authorizers::{self, Said},
    causes::with_causes,
    own::Own,
    report::{Carried, Carrier},
    world::Worlds,
};

/// Bounds of calls.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time to open a connection, where nothing is said.
    pub connect_timeout: Duration,
    /// Time from sending a request to the head of its answer, where nothing is said.
    pub attempt_timeout: Duration,
    /// Endpoints that are tried before a connection is given up.
    pub connect_attempts: usize,
    /// First wait before a request is sent again, where nothing is said.
    pub backoff: Duration,
    /// Longest such wait.
    pub backoff_max: Duration,
    /// For how long an endpoint that could not be reached is chosen last.
    pub suspect_for: Duration,
    /// Bounds of the pool.
    pub pool: pool::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(3600),
            connect_attempts: 4,
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_secs(2),
            suspect_for: Duration::from_secs(2),
            pool: pool::Config::default(),
        }
    }
}

/// The upstreams of a waypoint.
pub struct Calls {
    config: Config,
    own: Arc<Own>,
    worlds: Arc<Worlds>,
    judge: Arc<dyn Judge>,
    dial: Arc<dyn Dial>,
    pool: HttpPool,
    outside: Outside,
    choosing: Choosing,
    suspects: Suspects,
    spans: Option<Spans>,
    chance: fn() -> u64,
}

impl Calls {
    /// Calls by these worlds, connecting by `dial`.
    pub fn new(
        config: Config,
        own: Arc<Own>,
        worlds: Arc<Worlds>,
        judge: Arc<dyn Judge>,
        dial: Arc<dyn Dial>,
        chance: fn() -> u64,
    ) -> Self {
        let pool = HttpPool::new(config.pool.clone());
        let suspects = Suspects::new(config.suspect_for);
        let outside = Outside::new(Arc::clone(&worlds), Arc::new(SystemResolver::default()));
        let choosing = Choosing::default();
        Self { config, own, worlds, judge, dial, pool, outside, choosing, suspects, spans: None, chance }
    }

    /// Gives each connection a span.
    pub fn tracing(mut self, spans: Spans) -> Self {
        self.spans = Some(spans);
        self
    }

    /// Resolves the names of hosts outside by another than the system.
    pub fn resolving(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.outside.resolver = resolver;
        self
    }

    /// The connections that are kept.
    pub fn pool(&self) -> &HttpPool {
        &self.pool
    }

    async fn send(&self, mut call: Call) -> Result<Reply, CallError> {
        let goal = match &call.target {
            BackendTarget::Service { service, port } => Goal::Service(service.clone(), *port),
            BackendTarget::Host(host) => Goal::Outside(host.clone()),
            BackendTarget::Agent(name) => {
                return Err(CallError::Unresolved(format!("{name} is no place to send a request").into()));
            }
            BackendTarget::Broken(reason) => return Err(CallError::Unresolved(reason.clone())),
        };
        let (speaks, traffic) = match &goal {
            Goal::Service(service, port) => self.manner(&call, service, *port)?,
            Goal::Outside(host) => (manner_outside(&call, host), call.traffic.clone()),
        };
        self.prepare(&mut call, &goal, speaks);
        let retries =
            traffic.retries.clone().unwrap_or(Retries { attempts: 0, codes: Vec::new(), backoff: None });
        let mut left = u32::from(retries.attempts.min(10));
        let mut tried = Tries::default();
        loop {
            let again = again(&call.request);
            let attempt = match &goal {
                Goal::Service(service, port) => {
                    self.attempt(&mut call, (service, *port), speaks, &traffic, &tried).await
                }
                Goal::Outside(host) => self.attempt_outside(&mut call, host, speaks, &traffic).await,
            };
            let failed = match attempt {
                Ok(reply) if left > 0 && retries.codes.contains(&reply.response.status().as_u16()) => {
                    match &again {
                        Some(_) => Failed::answered(reply),
                        None => return Ok(reply),
                    }
                }
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            tried.note(&failed);
            match failed.stage {
                Stage::Final => return failed.into_result(),
                // Nothing was sent, so nothing can happen twice.
                Stage::Unsent(request) => {
                    if tried.unsent >= self.config.connect_attempts || call.pin.is_some() {
                        return Err(failed.error);
                    }
                    call.request = *request;
                    continue;
                }
                Stage::Sent { reused } => {
                    let safe = again.as_ref().is_some_and(|request| is_idempotent(request.method()));
                    // A kept connection that ends as it is used says nothing of the endpoint.
                    let free = reused && safe && tried.unsent < self.config.connect_attempts;
                    let Some(request) = again.filter(|_| left > 0 || free) else {
                        return failed.into_result();
                    };
                    if free {
                        tried.unsent += 1;
                    } else {
                        left -= 1;
                        self.pause(&retries, u32::from(retries.attempts) - left, &call).await?;
                    }
                    call.request = request;
                }
                Stage::Answered => {
                    let Some(request) = again else { return failed.into_result() };
                    left -= 1;
                    self.pause(&retries, u32::from(retries.attempts) - left, &call).await?;
                    call.request = request;
                }
            }
        }
    }

    /// Makes the request ready to be sent.
    fn prepare(&self, call: &mut Call, goal: &Goal, speaks: Speaks) {
        match goal {
            Goal::Service(..) => {
                headers::prepare(&mut call.request, &self.own.identity, &call.facts.caller, speaks);
            }
            Goal::Outside(host) => headers::prepare_outside(&mut call.request, host, speaks),
        }
        if let Some(trace) = call.trail.trace() {
            headers::trace(call.request.headers_mut(), &trace);
        }
    }

    /// How the port is spoken to, and what it says of delivery where the call does not.
    fn manner(&self, call: &Call, service: &ServiceKey, port: u16) -> Result<(Speaks, Traffic), CallError> {
        let world = self.worlds.load();
        let found = world.snapshot.service(service).and_then(|service| service.ports.get(&port));
        let Some(found) = found else {
            let text = format!("{service} has no port {port}");
            return Err(CallError::Unresolved(text.into()));
        };
        let speaks = match found.protocol {
            Protocol::Http2 => Speaks::Http2,
            // gRPC needs the trailers of HTTP/2, whatever the port says.
            _ if exchange::Convention::of(call.request.headers()) == exchange::Convention::Grpc => {
                Speaks::Http2
            }
            Protocol::Tcp | Protocol::Http | Protocol::Mcp | Protocol::A2a | Protocol::Llm => Speaks::Http1,
        };
        Ok((speaks, filled(&call.traffic, &found.traffic)))
    }

    /// One attempt at one endpoint.
    async fn attempt(
        &self,
        call: &mut Call,
        (service, port): (&ServiceKey, u16),
        speaks: Speaks,
        traffic: &Traffic,
        tried: &Tries,
    ) -> Result<Reply, Failed> {
        let wish = Wish { service, port, pin: call.pin.as_ref(), balance: traffic.balance };
        let world = self.worlds.load();
        let hop = self
            .choosing
            .choose(&world.snapshot, &self.own.uid, &wish, &tried.unreached, &self.wary(tried), self.chance)
            .map_err(|denial| Failed::last(unchosen(call.pin.as_ref(), denial)))?;
        let way = dial::way(&self.own, &call.facts.caller, call.facts.source_address, hop)
            .map_err(|denial| Failed::last(CallError::Unavailable(denial)))?;
        let endpoint = way.chosen.workload.uid.clone();
        let place = match &way.chosen.at {
            At::Port(port, _) => Some(Place::Workload { workload: endpoint.clone(), port: *port }),
            At::Waypoint | At::Remote => None,
        };
        drop(world);
        if let Some(place) = &place {
            self.enter(call, place).await?;
        }
        let sent = self.deliver(call, service, &way, speaks, traffic).await;
        if let (Err(_), Some(place)) = (&sent, &place) {
            call.trail.unused(place);
        }
        sent
    }

    /// Uses a port of an endpoint, if its policies and their external authorizers allow it. It is noted before it is
    /// judged: a denial that arrives meanwhile finds it.
    async fn enter(&self, call: &mut Call, place: &Place) -> Result<(), Failed> {
        if !call.trail.used(place.clone()) {
            let denial = Denial::plain(Reason::TooMuch, "the exchange has used too many endpoints");
            return Err(Failed::last(CallError::Denied(denial)));
        }
        let judged = self.judge.judge(place, &call.facts, Purpose::Decide);
        let judged = judged.and_then(|()| self.judge.authorizers(place, &call.facts));
        let entered = match judged {
            Ok(authorizers) => {
                let closing = call.closing.clone();
                tokio::select! {
                    asked = self.ask_all(call, authorizers) => asked.map_err(CallError::Denied),
                    denial = closing.closed() => Err(CallError::Closed((*denial).clone())),
                }
            }
            Err(denial) => Err(CallError::Denied(denial)),
        };
        entered.map_err(|error| {
            call.trail.unused(place);
            Failed::last(error)
        })
    }

    /// Asks the external authorizers of an endpoint that did not say yes already.
    async fn ask_all(&self, call: &mut Call, authorizers: Vec<Arc<Authorizer>>) -> Result<(), Denial> {
        for authorizer in authorizers {
            if call.trail.is_authorized(&authorizer, &call.facts) {
                continue;
            }
            if call.request.extensions().get::<Asking>().is_some() {
                let text =
                    "an authorizer or guard stands behind an authorizer itself, about which nobody is asked";
                return Err(Denial::plain(Reason::ExternalFailed, text));
            }
            authorizers::hold(&authorizer, call.request.body_mut()).await?;
            let changes = self.authorize(&authorizer, &call.facts, &call.request).await?;
            changes.apply(call.request.headers_mut());
            call.trail.authorized(authorizer, &call.facts);
        }
        Ok(())
    }

    /// Connects and sends.
    async fn deliver(
        &self,
        call: &mut Call,
        service: &ServiceKey,
        way: &Way,
        speaks: Speaks,
        traffic: &Traffic,
    ) -> Result<Reply, Failed> {
        let endpoint = way.chosen.workload.uid.clone();
        call.trail.attempt(upstream_of(service, way));
        let key = Key::of(way, speaks, &call.facts.caller.workload);
        let connect_timeout = traffic.connect_timeout.map_or(self.config.connect_timeout, Duration::from);
        let busy = self.choosing.busy(&endpoint);
        let request = std::mem::take(&mut call.request);
        let open = async {
            let carrier = self.spans.as_ref().map(|spans| Carrier::outbound(spans, way, call));
            let way = Way { trace: carrier.as_ref().map(|it| it.context().clone()), ..way.clone() };
            let stream = self.open(&way, connect_timeout).await?;
            let link = carrier.as_ref().map(Carrier::link);
            Ok(Opened { stream: Carried::new(stream, carrier), speaks, carrier: link })
        };
        let sent = self.pool.send(&key, request, open);
        match self.tried(call, &endpoint, traffic, sent).await? {
            Ok(reply) => {
                self.suspects.reached(&endpoint);
                Ok(Reply { response: reply.response.map(|body| busy.until_end(body)), ..reply })
            }
            Err((request, Unopened::Failed(error))) => Err(self.unconnected(endpoint, request, error)),
            Err((_, Unopened::Refused(denial))) => Err(Failed::last(CallError::Unavailable(denial))),
        }
    }

    /// One attempt at a host outside the mesh.
    async fn attempt_outside(
        &self,
        call: &mut Call,
        host: &ExternalHost,
        speaks: Speaks,
        traffic: &Traffic,
    ) -> Result<Reply, Failed> {
        let endpoint = outside::uid_of(host);
        call.trail.attempt(Upstream {
            service: None,
            workload: endpoint.clone(),
            port: host.port,
            identity: None,
            address: format!("{}:{}", host.host, host.port),
        });
        let key = Key::outside(host, speaks);
        let connect_timeout = traffic.connect_timeout.map_or(self.config.connect_timeout, Duration::from);
        let request = std::mem::take(&mut call.request);
        let sent = self.pool.send(&key, request, self.outside.open(host, speaks, connect_timeout));
        match self.tried(call, &endpoint, traffic, sent).await? {
            Ok(reply) => Ok(reply),
            // There is nobody else to try.
            Err((_, Unopened::Failed(error))) => {
                let reason = match error.fault() {
                    Fault::Peer => Reason::HandshakeFailed,
                    Fault::Ours | Fault::Unreachable | Fault::Refused => Reason::Unreachable,
                };
                let text = format!("{}: {}", host.host, with_causes(&error));
                Err(Failed::last(CallError::Unavailable(Denial::plain(reason, text))))
            }
            Err((_, Unopened::Refused(denial))) => Err(Failed::last(CallError::Unavailable(denial))),
        }
    }

    /// Waits for what becomes of a request, as long as an attempt may take. Inside: it was answered, or no connection
    /// could be opened, and it is as it was.
    async fn tried(
        &self,
        call: &Call,
        endpoint: &WorkloadUid,
        traffic: &Traffic,
        sent: impl Future<Output = Tried>,
    ) -> Result<Result<Reply, (Request, Unopened)>, Failed> {
        let endpoint = endpoint.clone();
        let attempt_timeout = match traffic.attempt_timeout {
            Some(mesh::resource::Millis(0)) | None => self.config.attempt_timeout,
            Some(span) => span.into(),
        };
        let tried = tokio::select! {
            tried = tokio::time::timeout(attempt_timeout, sent) => tried,
            denial = call.closing.closed() => return Err(Failed::last(CallError::Closed((*denial).clone()))),
        };
        match tried {
            Err(_) => Err(Failed {
                endpoint: Some(endpoint),
                error: CallError::TimedOut(attempt_timeout),
                stage: Stage::Sent { reused: false },
                reply: None,
            }),
            Ok(Tried::Answered(mut response)) => {
                call.trail.answered(response.status());
                if let Some(carrier) = response.extensions_mut().remove::<Link>() {
                    call.trail.carried(carrier);
                }
                headers::clean_response(&mut response);
                Ok(Ok(Reply { response, endpoint }))
            }
            Ok(Tried::Unconnected(request, why)) => Ok(Err((request, why))),
            Ok(Tried::Unsent(request)) => Err(Failed {
                endpoint: None,
                error: CallError::BadAnswer("the connection ended before it was used".to_owned()),
                stage: Stage::Unsent(Box::new(request)),
                reply: None,
            }),
            Ok(Tried::Broken { reused, text, body }) => {
                let error = body.map_or_else(|| CallError::BadAnswer(text), CallError::Request);
                let stage = if matches!(error, CallError::Request(_)) {
                    Stage::Final
                } else {
                    Stage::Sent { reused }
                };
                Err(Failed { endpoint: Some(endpoint), error, stage, reply: None })
            }
        }
    }

    /// Endpoints that are chosen only if nobody else is there.
    fn wary(&self, tried: &Tries) -> Vec<WorkloadUid> {
        let mut wary = self.suspects.now();
        wary.extend(tried.failed.iter().cloned());
        wary
    }

    async fn open(&self, way: &Way, timeout: Duration) -> Result<transport::Stream, DialError> {
        let waited =
            || DialError::Silent { address: transport::Address::Tcp(way.address()), waited: timeout };
        tokio::time::timeout(timeout, self.dial.dial(way)).await.unwrap_or_else(|_| Err(waited()))
    }

    fn unconnected(&self, endpoint: WorkloadUid, request: Request, error: DialError) -> Failed {
        let denied = match &error {
            // The endpoint's own node refuses: its word stands, another endpoint would say the same.
            DialError::Refused { status: 400 | 401 | 403, denied, .. } => {
                let said = denied.as_deref().unwrap_or("without a reason");
                Some(Denial::plain(Reason::Denied, format!("the node of {endpoint} refuses: {said}")))
            }
            _ => None,
        };
        if let Some(denial) = denied {
            return Failed::last(CallError::Denied(denial));
        }
        let reason = match error.fault() {
            Fault::Ours => Reason::NoCertificate,
            Fault::Peer => Reason::HandshakeFailed,
            Fault::Unreachable | Fault::Refused => Reason::Unreachable,
        };
        if error.fault() != Fault::Ours {
            self.suspects.unreached(&endpoint);
        }
        let error = CallError::Unavailable(Denial::plain(reason, with_causes(&error)));
        Failed { endpoint: Some(endpoint), error, stage: Stage::Unsent(Box::new(request)), reply: None }
    }

    async fn pause(&self, retries: &Retries, attempt: u32, call: &Call) -> Result<(), CallError> {
        let first = retries.backoff.map_or(self.config.backoff, Duration::from);
        let longest =
            first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.config.backoff_max);
        // Half of it for certain, the other half by chance, so that many do not come back at once.
        let half = longest / 2;
        let extra = u64::try_from(half.as_nanos())
            .unwrap_or(u64::MAX)
            .checked_add(1)
            .map_or(0, |span| (self.chance)() % span);
        tokio::select! {
            () = tokio::time::sleep(half + Duration::from_nanos(extra)) => Ok(()),
            denial = call.closing.closed() => Err(CallError::Closed((*denial).clone())),
        }
    }
}

impl Upstreams for Calls {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(self.send(call))
    }

    fn authorize<'a>(
        &'a self,
        authorizer: &'a Authorizer,
        facts: &'a Facts,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Changes, Denial>> {
        Box::pin(async move {
            match authorizers::ask(self, &self.own.identity, authorizer, facts, request).await? {
                Said::Yes(changes) => Ok(changes),
                Said::No { .. } => Err(authorizers::no()),
            }
        })
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Calls").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// Where a call goes.
enum Goal {
    Service(ServiceKey, u16),
    Outside(ExternalHost),
}

/// How a host outside is spoken to.
fn manner_outside(call: &Call, host: &ExternalHost) -> Speaks {
    match &host.tls {
        _ if exchange::Convention::of(call.request.headers()) == exchange::Convention::Grpc => Speaks::Http2,
        // HTTP/2 has no upgrades.
        _ if headers::upgrade(call.request.headers()).is_some() => Speaks::Http1,
        Some(_) => Speaks::Either,
        None => Speaks::Http1,
    }
}

fn unchosen(pin: Option<&WorkloadUid>, denial: Denial) -> CallError {
    match pin {
        Some(pin) => CallError::PinGone(pin.clone()),
        None => CallError::Unavailable(denial),
    }
}

fn upstream_of(service: &ServiceKey, way: &Way) -> Upstream {
    Upstream {
        service: Some(service.clone()),
        workload: way.chosen.workload.uid.clone(),
        port: match way.chosen.at {
            At::Port(port, _) => port,
            At::Waypoint | At::Remote => way.chosen.service.as_ref().map_or(0, |(_, port)| *port),
        },
        identity: Some(way.chosen.workload.identity.clone()),
        address: way.authority.to_string(),
    }
}

/// Field by field: what the call says, else what the port says.
fn filled(call: &Traffic, port: &Traffic) -> Traffic {
    Traffic {
        request_timeout: call.request_timeout.or(port.request_timeout),
        attempt_timeout: call.attempt_timeout.or(port.attempt_timeout),
        connect_timeout: call.connect_timeout.or(port.connect_timeout),
        idle_timeout: call.idle_timeout.or(port.idle_timeout),
        retries: call.retries.clone().or_else(|| port.retries.clone()),
        balance: call.balance.or(port.balance),
        authentication: call.authentication.clone().or_else(|| port.authentication.clone()),
    }
}
