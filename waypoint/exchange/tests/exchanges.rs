//! Filters in order and in reverse, their end, and the door from refusals to answers.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use exchange::{
    Ask, Backend, Body, BodyError, BoxFuture, CallError, Chain, Closing, Convention, End, Exceeded, Exchange,
    Filter, Judge, Known, Ledger, Place, Purpose, Register, Request, Reservation, Response, Step, Trail,
    answer,
};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use mesh::{
    Caller, Denial, Facts, Peer, Reason,
    facts::{Demand, Fact},
    names::{ObjectName, ServiceKey},
    resource::{
        Authorizer, BackendKind, BackendTarget, Catalogue, Guard, Issuer, McpServer, Protocol, Quota, Secret,
        Traffic,
    },
};

type Log = Arc<Mutex<Vec<String>>>;

struct Noted {
    name: &'static str,
    step: Option<Step>,
    log: Log,
}

impl Noted {
    fn note(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Filter for Noted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request<'a>(&'a mut self, _: &'a mut Exchange) -> BoxFuture<'a, Step> {
        self.note("request");
        Box::pin(std::future::ready(self.step.take().unwrap_or(Step::Continue)))
    }

    fn response<'a>(&'a mut self, _: &'a mut Exchange, _: &'a mut Response) -> BoxFuture<'a, ()> {
        self.note("response");
        Box::pin(std::future::ready(()))
    }

    fn on_end(&mut self, _: &Trail, end: &End) {
        self.note(match end {
            End::Complete => "complete",
            End::CallerLeft => "left",
            End::Broken(_) => "broken",
            End::Closed(_) => "closed",
        });
    }
}

/// Refuses at the places that are named.
struct Refusing(Vec<Place>);

impl Judge for Refusing {
    fn judge(&self, place: &Place, _: &Facts, _: Purpose) -> Result<(), Denial> {
        if self.0.contains(place) { Err(Denial::plain(Reason::Denied, format!("{place:?}"))) } else { Ok(()) }
    }

    fn authorizers(&self, _: &Place, _: &Facts) -> Result<Vec<Arc<Authorizer>>, Denial> {
        Ok(Vec::new())
    }

    fn generation(&self) -> u64 {
        0
    }

    fn changed(&self, _: u64) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// Knows nothing and has nothing to give.
struct Nobody;

impl Known for Nobody {
    fn guards(&self, _: &[Place]) -> Vec<Arc<Guard>> {
        Vec::new()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        Vec::new()
    }

    fn catalogue(&self, _: &ObjectName) -> Option<Arc<Catalogue>> {
        None
    }

    fn secret(&self, _: &ObjectName) -> Option<Arc<Secret>> {
        None
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

impl Ledger for Nobody {
    fn reserve(&self, _: &Facts, _: &[Arc<Quota>], _: &Ask) -> Result<Box<dyn Reservation>, Exceeded> {
        unreachable!("no filter here asks for an allowance")
    }
}

struct Numbered;

impl Register for Numbered {
    fn refused(&self, _: &Denial, _: &Facts, _: &Trail) -> Arc<str> {
        "r-1".into()
    }
}

fn place(port: u16) -> Place {
    Place::Workload { workload: "east//Pod/shop/web".into(), port }
}

fn exchange(refusing: Vec<Place>) -> Exchange {
    let service: ServiceKey = "shop/web.shop.svc.cluster.local".parse().unwrap();
    let facts = Facts {
        caller: Caller { workload: Peer::Unknown, by: None },
        source_address: None,
        port: 80,
        http: Fact::NotApplicable,
        mcp: Fact::NotApplicable,
        a2a: Fact::NotApplicable,
        llm: Fact::NotApplicable,
        user: None,
    };
    Exchange {
        request: Request::default(),
        facts: Arc::new(facts),
        demand: Demand::default(),
        route: None,
        matched_prefix: None,
        backend: Backend::Service { service, port: 80, protocol: Protocol::Http },
        pin: None,
        traffic: Traffic::default(),
        places: vec![Place::Agent(ObjectName::new("AgentBackend", "shop", "a"))],
        judge: Arc::new(Refusing(refusing)),
        known: Arc::new(Nobody),
        ledger: Arc::new(Nobody),
        watches: None,
        register: Arc::new(Numbered),
        closing: Closing::default(),
        trail: Trail::default(),
    }
}

fn chain(log: &Log, steps: Vec<Option<Step>>) -> Chain {
    let names = ["one", "two", "three"];
    let filters = steps.into_iter().zip(names).map(|(step, name)| {
        let log = Arc::clone(log);
        Box::new(Noted { name, step, log }) as Box<dyn Filter>
    });
    Chain::new(filters.collect(), Trail::default())
}

#[tokio::test]
async fn a_response_meets_in_reverse_those_that_met_the_request() {
    for (stop, expected) in [
        (
            Step::Continue,
            "one request,two request,three request,three response,two response,one response,three complete,two complete,one complete",
        ),
        (
            Step::Refuse(Denial::plain(Reason::Denied, "")),
            "one request,two request,two response,one response,two complete,one complete",
        ),
        (
            Step::Answer(Response::default()),
            "one request,two request,two response,one response,two complete,one complete",
        ),
    ] {
        let log = Log::default();
        let mut chain = chain(&log, vec![None, Some(stop), None]);
        let mut exchange = exchange(Vec::new());
        let _ = chain.request(&mut exchange).await;
        chain.response(&mut exchange, &mut Response::default()).await;
        chain.end(&End::Complete);
        // Only the first end counts, and dropping is one.
        chain.end(&End::Broken(BodyError::Stalled));
        drop(chain);
        assert_eq!(log.lock().unwrap().join(","), expected);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_is_an_end_too() {
    let log = Log::default();
    let mut chain = chain(&log, vec![None]);
    let _ = chain.request(&mut exchange(Vec::new())).await;
    drop(chain);
    assert_eq!(log.lock().unwrap().join(","), "one request,one left");
}

#[test]
fn an_exchange_is_judged_at_every_place_that_it_used() {
    let exchange = exchange(vec![place(2)]);
    let facts = Arc::clone(&exchange.facts);
    assert!(exchange.trail.used(place(1)));
    assert!(exchange.judge(&facts, Purpose::Decide).is_ok());
    assert!(exchange.trail.used(place(2)));
    assert!(exchange.judge(&facts, Purpose::List).is_err());
    exchange.trail.unused(&place(2));
    assert!(exchange.judge(&facts, Purpose::Again).is_ok());
}

#[test]
fn places_are_bounded() {
    let trail = Trail::default();
    for port in 0..64 {
        assert!(trail.used(place(port)));
    }
    assert!(!trail.used(place(64)));
    assert!(trail.used(place(3)), "one that is there needs no room");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_callers_convention() {
    let exchange = exchange(Vec::new());
    let denial = Denial::plain(Reason::NoGrant, "a secret of the policy");
    let response = answer::denial(&exchange, Convention::Http, &denial);
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["x-strait-denied"], "id=r-1; reason=NoGrant");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("secret"));
    let response = answer::denial(&exchange, Convention::Grpc, &denial);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "7");
    assert_eq!(response.headers()["x-strait-denied"], "id=r-1; reason=NoGrant");
    assert_eq!(exchange.trail.record().refusal.unwrap().1, "r-1".into());
}

#[test]
fn every_failure_has_its_status() {
    let denial = |reason| Denial::plain(reason, "");
    for (error, status, grpc) in [
        (CallError::Denied(denial(Reason::NoGrant)), 403, "7"),
        (CallError::Closed(denial(Reason::NoLongerAllowed)), 403, "7"),
        (CallError::Unresolved("".into()), 500, "2"),
        (CallError::Unavailable(denial(Reason::NoEndpoint)), 503, "14"),
        (CallError::PinGone("w".into()), 503, "14"),
        (CallError::TimedOut(std::time::Duration::ZERO), 504, "4"),
        (CallError::BadAnswer(String::new()), 502, "14"),
        (CallError::Request(BodyError::TooLarge { limit: 1 }), 413, "8"),
        (CallError::Request(BodyError::Stalled), 408, "4"),
        (CallError::Request(BodyError::Cut(String::new())), 400, "13"),
    ] {
        let exchange = exchange(Vec::new());
        assert_eq!(answer::failure(&exchange, Convention::Http, &error).status(), status, "{error}");
        assert_eq!(
            answer::failure(&exchange, Convention::Grpc, &error).headers()["grpc-status"],
            grpc,
            "{error}"
        );
    }
    for (reason, status) in [
        (Reason::NoRoute, 404),
        (Reason::RouteBroken, 500),
        (Reason::BackendBroken, 503),
        (Reason::Malformed, 400),
        (Reason::Revoked, 403),
        (Reason::PolicyMissing, 403),
    ] {
        assert_eq!(answer::status_of(reason).as_u16(), status, "{reason}");
    }
}

#[test]
fn grpc_is_told_by_the_content_type() {
    for (kind, expected) in [
        ("application/grpc", Convention::Grpc),
        ("application/grpc+proto", Convention::Grpc),
        ("Application/gRPC; charset=x", Convention::Grpc),
        ("application/grpc-web", Convention::Http),
        ("application/json", Convention::Http),
    ] {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert("content-type", HeaderValue::from_static(kind));
        assert_eq!(Convention::of(request.headers()), expected, "{kind}");
    }
}

#[test]
fn what_a_backend_leads_to_is_on_the_way_each_once() {
    let service =
        |name: &str| -> ServiceKey { format!("shop/{name}.shop.svc.cluster.local").parse().unwrap() };
    let at = |name: &str| Place::Service { service: service(name), port: 80 };
    let target = |name: &str| BackendTarget::Service { service: service(name), port: 80 };
    let server =
        |name: &str, target| McpServer { name: name.into(), target, path: "/mcp".into(), auth: None };
    let agent = |kind| {
        Backend::Agent(Arc::new(mesh::resource::Backend {
            name: ObjectName::new("AgentBackend", "shop", "a"),
            hostnames: Vec::new(),
            kind,
            set: "s".into(),
            traffic: Traffic::default(),
            catalogue: None,
            broken: None,
        }))
    };
    let servers = vec![
        server("one", target("one")),
        server("again", target("one")),
        server("two", target("two")),
        server("gone", BackendTarget::Broken("gone".into())),
    ];
    let own = Place::Agent(ObjectName::new("AgentBackend", "shop", "a"));
    for (backend, expected) in [
        (exchange(Vec::new()).backend, vec![own.clone(), at("web")]),
        (agent(BackendKind::Mcp { servers }), vec![own.clone(), at("one"), at("two")]),
        (agent(BackendKind::A2a { target: target("r"), skill_pointer: None }), vec![own.clone(), at("r")]),
        (Backend::Nowhere, vec![own]),
    ] {
        let exchange = Exchange { backend, ..exchange(Vec::new()) };
        assert_eq!(exchange.way(), expected);
    }
}
