//! One exchange, from its request to the end of its response.

mod guard;
mod lead;
mod spoken;
mod upgrade;
mod user;
mod watched;
mod within;

use std::{convert::Infallible, sync::Arc, time::Duration};

use exchange::{
    Body, Chain, Closing, Convention, Exchange, Filter, Request, Responder, Response, Step, Trail, answer,
};
use filters::{Guests, Plan, Refused, Surroundings};
use guards::{Guarding, Rules};
use mesh::{
    Denial, Facts, Reason,
    facts::{Fact, HttpFacts},
};

use tokio::sync::OwnedSemaphorePermit;
use users::Challenge;

use self::{
    lead::{Led, lead},
    spoken::Spoken,
    watched::Finish,
    within::{held_until, within},
};
use crate::{
    authorizers::ExternalAuth,
    connections::{Kind, Running},
    edge::forwarded,
    entrance::{CameBy, Entered, Front},
    facts,
    report::Ended,
    responders::Fixed,
    upstreams::headers,
    waypoint::{Room, Waypoint},
};

/// Serves one request that came in a stream.
///
/// # Errors
/// Never: every failure is a response.
pub async fn serve<B>(
    waypoint: Arc<Waypoint>,
    entered: Arc<Entered>,
    front: Arc<Front>,
    request: http::Request<B>,
) -> Result<Response, Infallible>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let mut request = request.map(Body::streamed);
    let convention = Convention::of(request.headers());
    let mut ended = Ended::of(&waypoint, &entered, &front, &request);
    // Whoever claims to be somebody in a header is not believed, and no policy reads the claim.
    headers::strip_claims(request.headers_mut());
    let mut request = request.map(|body| body.cleaned(headers::clean_trailers));
    if let CameBy::Edge { secured } = entered.came {
        forwarded::say(request.headers_mut(), entered.source_address, secured);
    }
    let http = match facts::read(&mut request) {
        Ok(http) => http,
        Err(denial) => {
            return Ok(turned_away(&waypoint, &entered, &front, ended, None, convention, &denial));
        }
    };
    ended.read(&http);
    if let Some(response) = user::metadata(&waypoint, &http) {
        ended.finish(response.status(), 0, &Trail::default().record(), None);
        return Ok(response);
    }
    let exchange = match begin(&waypoint, &entered, &front, &mut request, http.clone()) {
        Ok(begun) => begun,
        Err(denial) => {
            return Ok(turned_away(&waypoint, &entered, &front, ended, Some(http), convention, &denial));
        }
    };
    let (mut exchange, led) = exchange;
    exchange.request = request;
    ended.led(&exchange);
    Ok(run(&waypoint, &entered, &front, exchange, led, ended).await)
}

/// Admits the caller once more (the stream may be older than the snapshot), finds the rule and where it leads.
fn begin(
    waypoint: &Waypoint,
    entered: &Entered,
    front: &Front,
    request: &mut Request,
    http: HttpFacts,
) -> Result<(Exchange, Led), Denial> {
    let world = waypoint.worlds.load();
    let caller = entered.came.admit(&world.snapshot)?;
    let begun_at = waypoint.mcp.begun_at(request.headers());
    let query = request.uri().query();
    let led = lead(&world, front, &http, query, begun_at.as_ref(), (waypoint.chance)())?;
    let facts = Facts {
        caller,
        source_address: entered.source_address,
        port: front.port(),
        http: Fact::Known(http),
        mcp: Fact::Missing("the port does not speak MCP"),
        a2a: Fact::Missing("the port does not speak A2A"),
        llm: Fact::Missing("the port does not speak a protocol of models"),
        user: None,
    };
    let places = led.places(&world, front);
    let trail = Trail::default();
    if let Some(place) = led.addressed(front) {
        trail.addressed(place);
    }
    let exchange = Exchange {
        request: Request::default(),
        facts: Arc::new(facts),
        demand: crate::judge::demand(&world.snapshot, &places),
        route: led.route.clone(),
        matched_prefix: led.prefix.clone(),
        backend: led.backend.clone(),
        pin: led.pin.clone(),
        traffic: led.traffic.clone(),
        places,
        judge: Arc::clone(&waypoint.judge),
        known: Arc::clone(&waypoint.known),
        ledger: Arc::clone(&waypoint.ledger),
        watches: None,
        register: Arc::clone(&waypoint.register),
        closing: Closing::default(),
        trail,
    };
    Ok((exchange, led))
}

/// Answers a request that took too long.
fn late(exchange: &Exchange, convention: Convention) -> Response {
    const LATE: &str = "the request took longer than it may";
    exchange.trail.failed(LATE);
    answer::plain(convention, http::StatusCode::GATEWAY_TIMEOUT, None, LATE)
}

async fn run(
    waypoint: &Arc<Waypoint>,
    entered: &Entered,
    front: &Front,
    mut exchange: Exchange,
    mut led: Led,
    mut ended: Ended,
) -> Response {
    let deadline = led.deadline();
    let on_upgrade = upgrade::taken(&mut exchange.request);
    exchange.request = ended.count_request(std::mem::take(&mut exchange.request), &exchange.closing);
    let spoken = led.spoken();
    let (demands, mut refusal) = user::authenticate(waypoint, &mut exchange).await;
    let mut room = None;
    // Who must first say who he is has nothing held for him.
    let rules = guard::rules(waypoint, &exchange);
    let mut guarding: Option<Box<dyn Filter>> = None;
    if (spoken.is_read() || !rules.is_empty()) && refusal.is_none() {
        match gather(waypoint, &mut exchange, spoken, &rules, deadline).await {
            Some((held, guard)) => {
                room = held;
                guarding = guard.map(|guard| Box::new(guard) as Box<dyn Filter>);
            }
            None => return overloaded(&exchange, ended),
        }
    }
    if spoken == Spoken::A2a
        && let Some(home) = led_home(waypoint, front, &mut exchange)
    {
        led = home;
        ended.led(&exchange);
        if let Some(denial) = guard::uncovered(&rules, &exchange) {
            guarding = Some(Box::new(Refused::new("guard", denial)));
        }
        if refusal.is_none() {
            refusal = user::uncovered(waypoint, &demands, &exchange);
        }
    }
    // Registered before it is judged: a denial that arrives meanwhile finds it.
    let registered = waypoint.connections.register(running(entered, &exchange, &ended));
    let surroundings = Surroundings { mirrors: waypoint.mirrors.clone(), chance: (waypoint.chance)() };
    let (refused, challenge) = refusal.map(|refusal| (refusal.denial, refusal.challenge)).unzip();
    let guests = guests(waypoint, refused, guarding);
    let chain = Plan::chain(&led.plans(), guests, &surroundings, exchange.trail.clone());
    let idle = led.traffic.idle_timeout.map_or(waypoint.limits.idle_timeout, Duration::from);
    ended.gathered(&exchange);
    let mut finish =
        Finish::new(chain, ended, (registered, room), exchange.trail.clone(), exchange.closing.clone());
    let responder = spoken.responder(waypoint);
    let convention = Convention::of(exchange.request.headers());
    let answered = respond(waypoint, entered, &led, (responder, challenge), &mut finish.chain, &mut exchange);
    let (mut response, deadline) = match within(deadline, answered).await {
        Some(response) => (response, deadline),
        // To say so takes as long as it takes.
        None => (late(&exchange, convention), None),
    };
    let met = within(deadline, finish.chain.response(&mut exchange, &mut response)).await;
    if met.is_none() {
        response = late(&exchange, convention);
    }
    if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::relay(response, on_upgrade, finish, idle);
    }
    finish.watch(response, deadline, idle)
}

/// The filters of an exchange beside those of its route.
fn guests(waypoint: &Waypoint, refused: Option<Denial>, guard: Option<Box<dyn Filter>>) -> Guests {
    let external = ExternalAuth::new(waypoint.own.identity.clone(), Arc::clone(&waypoint.upstreams));
    Guests {
        quota: Some(Box::new(filters::quota::Quota::default())),
        authenticate: refused.map(|denial| Box::new(Refused::new("authenticate", denial)) as Box<dyn Filter>),
        external: Some(Box::new(external)),
        guard,
    }
}

/// The exchange, for those who may have to end it.
fn running(entered: &Entered, exchange: &Exchange, ended: &Ended) -> Running {
    Running {
        kind: Kind::Exchange,
        came: entered.came.clone(),
        facts: Arc::clone(&exchange.facts),
        places: exchange.places.clone(),
        trail: exchange.trail.clone(),
        closing: exchange.closing.clone(),
        began: ended.began(),
    }
}

/// Leads the request through its filters to whoever answers it.
async fn respond(
    waypoint: &Waypoint,
    entered: &Entered,
    led: &Led,
    (responder, challenge): (&dyn Responder, Option<Challenge>),
    chain: &mut Chain,
    exchange: &mut Exchange,
) -> Response {
    // Admitted once more, now that a revocation would find it.
    let admitted = entered.came.admit(&waypoint.worlds.load().snapshot);
    if let Err(denial) = admitted {
        return responder.refuse(exchange, &denial);
    }
    match chain.request(exchange).await {
        Step::Continue => match &led.broken {
            None => responder.respond(exchange, &*waypoint.upstreams).await,
            Some(denial) => Fixed(denial.clone()).respond(exchange, &*waypoint.upstreams).await,
        },
        Step::Refuse(denial) => {
            let response = responder.refuse(exchange, &denial);
            match challenge.filter(|_| matches!(denial.reason, Reason::UserMissing | Reason::UserInvalid)) {
                None => response,
                Some(challenge) => {
                    let (mut head, body) = response.into_parts();
                    challenge.write(&mut head.status, &mut head.headers);
                    Response::from_parts(head, body)
                }
            }
        }
        Step::Answer(response) => response,
    }
}

/// Leads a request that names a task or context once more, to where that lives: only its body says so, and it is read
/// where it was led first. `None`: it stays.
fn led_home(waypoint: &Waypoint, front: &Front, exchange: &mut Exchange) -> Option<Led> {
    let begun_at = waypoint.a2a.begun_at(&exchange.request, &exchange.facts)?;
    if begun_at == exchange.backend.target() {
        return None;
    }
    let world = waypoint.worlds.load();
    let http = exchange.facts.http.known()?;
    let query = exchange.request.uri().query();
    let led = lead(&world, front, http, query, Some(&begun_at), (waypoint.chance)()).ok()?;
    if led.backend.target() != begun_at || led.spoken() != Spoken::A2a || led.route != exchange.route {
        return None;
    }
    exchange.backend = led.backend.clone();
    exchange.pin = led.pin.clone();
    exchange.traffic = led.traffic.clone();
    exchange.places = led.places(&world, front);
    exchange.demand = crate::judge::demand(&world.snapshot, &exchange.places);
    let pointer = spoken::skill_pointer(&exchange.backend);
    let a2a = a2a::facts(&exchange.request, pointer.as_deref());
    exchange.facts = Arc::new(Facts { a2a, ..Facts::clone(&exchange.facts) });
    Some(led)
}

/// Reads the facts of a request from its body, which is then held; with the room that it takes. `None`: there was no
/// room in time.
async fn gather(
    waypoint: &Waypoint,
    exchange: &mut Exchange,
    spoken: Spoken,
    rules: &Rules,
    deadline: Option<tokio::time::Instant>,
) -> Option<(Option<OwnedSemaphorePermit>, Option<Guarding>)> {
    let until = Some(held_until(deadline, waypoint));
    let body = exchange.request.body();
    let room = if body.is_empty() {
        None
    } else {
        let length = http_body::Body::size_hint(body).exact();
        Some(within(until, waypoint.room.reserve(length)).await.flatten()?)
    };
    let mut guarding = None;
    if !rules.is_empty() {
        // What is judged is what is sent: what is masked is masked before anybody reads it.
        guarding = Some(guard::begin(waypoint, exchange, rules.clone(), until).await);
    }
    spoken.read(waypoint, exchange, until).await;
    let length = exchange.request.body().held().map_or(waypoint.limits.held_bytes, |body| body.len());
    Some((room.map(|room| Room::shrunk(room, length)), guarding))
}

/// Answers when there was no room for the body in time.
fn overloaded(exchange: &Exchange, ended: Ended) -> Response {
    let status = http::StatusCode::SERVICE_UNAVAILABLE;
    let text = "too much is held already";
    exchange.trail.failed(text);
    ended.finish(status, 0, &exchange.trail.record(), None);
    answer::plain(Convention::of(exchange.request.headers()), status, None, text)
}

/// Answers what does not become an exchange.
fn turned_away(
    waypoint: &Waypoint,
    entered: &Entered,
    front: &Front,
    ended: Ended,
    http: Option<HttpFacts>,
    convention: Convention,
    denial: &Denial,
) -> Response {
    let facts = Facts {
        caller: entered.caller.clone(),
        source_address: entered.source_address,
        port: front.port(),
        http: http.map_or(Fact::Missing("the request cannot be read"), Fact::Known),
        mcp: Fact::Missing("the request was not read"),
        a2a: Fact::Missing("the request was not read"),
        llm: Fact::Missing("the request was not read"),
        user: None,
    };
    let trail = Trail::default();
    if let Some(place) = front.place() {
        trail.addressed(place);
    }
    let id = waypoint.register.refused(denial, &facts, &trail);
    trail.refused(denial, &id);
    let mut response = answer::refusal(convention, denial, &id);
    if denial.reason == Reason::Malformed {
        // What follows on the connection may be part of what could not be read.
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    ended.finish(response.status(), 0, &trail.record(), None);
    response
}

impl Led {
    fn spoken(&self) -> Spoken {
        match &self.backend {
            exchange::Backend::Service { protocol, .. } => Spoken::of_port(*protocol),
            exchange::Backend::Agent(backend) => Spoken::of_backend(&backend.kind),
            exchange::Backend::Nowhere => Spoken::Http,
        }
    }

    fn deadline(&self) -> Option<tokio::time::Instant> {
        let span = self.traffic.request_timeout.filter(|span| span.0 > 0)?;
        tokio::time::Instant::now().checked_add(span.into())
    }
}
