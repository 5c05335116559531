//! What filters do with a request, as tables.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use exchange::{
    Ask, Backend, Body, BoxFuture, Call, CallError, Closing, Exceeded, Exchange, Judge, Known, Ledger, Place,
    Purpose, Register, Reply, Request, Reservation, Response, Step, Trail, Upstreams, Used,
};
use filters::{BrokenFilter, Guests, Mirrors, Plan, Surroundings};
use http_body_util::BodyExt;
use mesh::{
    Caller, Denial, Facts, Peer, Reason,
    facts::{Demand, Fact},
    resource::*,
};

struct Nobody;

impl Judge for Nobody {
    fn judge(&self, _: &Place, facts: &Facts, _: Purpose) -> Result<(), Denial> {
        match facts.caller.workload {
            Peer::Unknown => Err(Denial::plain(Reason::NoGrant, "")),
            _ => Ok(()),
        }
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

impl Known for Nobody {
    fn guards(&self, _: &[Place]) -> Vec<Arc<Guard>> {
        Vec::new()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        Vec::new()
    }

    fn catalogue(&self, _: &mesh::names::ObjectName) -> Option<Arc<Catalogue>> {
        None
    }

    fn secret(&self, _: &mesh::names::ObjectName) -> Option<Arc<Secret>> {
        None
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

impl Ledger for Nobody {
    fn reserve(&self, _: &Facts, _: &[Arc<Quota>], _: &Ask) -> Result<Box<dyn Reservation>, Exceeded> {
        Ok(Box::new(Nobody))
    }
}

impl Reservation for Nobody {
    fn settle(self: Box<Self>, _: Used) {}
}

impl Register for Nobody {
    fn refused(&self, _: &Denial, _: &Facts, _: &Trail) -> Arc<str> {
        "r-1".into()
    }
}

/// Keeps what it was sent.
#[derive(Default)]
struct Kept {
    copies: Mutex<Vec<Result<String, String>>>,
    told: tokio::sync::Notify,
}

impl Upstreams for Kept {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async move {
            let body = call.request.into_body().collect().await;
            let body = body.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
            self.copies.lock().unwrap().push(body.map_err(|error| error.to_string()));
            self.told.notify_one();
            Ok(Reply { response: Response::default(), endpoint: "w".into() })
        })
    }
}

fn exchange(uri: &str, prefix: Option<&str>, caller: Peer) -> Exchange {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.parse().unwrap();
    request.headers_mut().insert("host", "web.shop:8080".parse().unwrap());
    Exchange {
        request,
        facts: Arc::new(Facts {
            caller: Caller { workload: caller, by: None },
            source_address: None,
            port: 8080,
            http: Fact::NotApplicable,
            mcp: Fact::NotApplicable,
            a2a: Fact::NotApplicable,
            llm: Fact::NotApplicable,
            user: None,
        }),
        demand: Demand::default(),
        route: None,
        matched_prefix: prefix.map(Into::into),
        backend: Backend::Service {
            service: "shop/web".parse().unwrap(),
            port: 80,
            protocol: Protocol::Http,
        },
        pin: None,
        traffic: Traffic::default(),
        places: vec![Place::Service { service: "shop/web".parse().unwrap(), port: 80 }],
        judge: Arc::new(Nobody),
        known: Arc::new(Nobody),
        ledger: Arc::new(Nobody),
        watches: None,
        register: Arc::new(Nobody),
        closing: Closing::default(),
        trail: Trail::default(),
    }
}

fn known() -> Peer {
    Peer::Verified("spiffe://east/a".parse().unwrap())
}

async fn run(filters: &[RouteFilter], exchange: &mut Exchange, upstreams: Arc<dyn Upstreams>) -> Step {
    let plan = Plan::compile(filters).unwrap();
    let surroundings = Surroundings { mirrors: Mirrors::new(upstreams), chance: 7 };
    let mut chain = Plan::chain(&[&plan], Guests::default(), &surroundings, Trail::default());
    chain.request(exchange).await
}

#[tokio::test]
async fn a_prefix_is_replaced_by_whole_segments() {
    // The table of Gateway API's HTTPPathModifier.
    for (path, prefix, replacement, expected) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/a", "/", "/x", "/x/a"),
        ("/a?q=1", "/a", "/b", "/b?q=1"),
    ] {
        let path_rewrite = Some(PathRewrite::Prefix(replacement.into()));
        let rewrite = RouteFilter::Rewrite(Rewrite { hostname: None, path: path_rewrite });
        let mut exchange = exchange(path, Some(prefix), known());
        let step = run(&[rewrite], &mut exchange, Arc::new(Kept::default())).await;
        assert!(matches!(step, Step::Continue));
        assert_eq!(exchange.request.uri(), expected, "{path} {prefix} {replacement}");
    }
}

#[tokio::test]
async fn a_redirect_keeps_what_it_does_not_name() {
    let redirect = |scheme: Option<&str>, hostname: Option<&str>, port| Redirect {
        scheme: scheme.map(Into::into),
        hostname: hostname.map(Into::into),
        port,
        path: None,
        status: 302,
    };
    for (redirect, expected) in [
        (redirect(None, None, None), "http://web.shop:8080/a?b"),
        (redirect(Some("https"), None, None), "https://web.shop/a?b"),
        (redirect(Some("https"), None, Some(443)), "https://web.shop/a?b"),
        (redirect(Some("https"), None, Some(8443)), "https://web.shop:8443/a?b"),
        (redirect(None, Some("o.example"), None), "http://o.example:8080/a?b"),
        (redirect(None, None, Some(80)), "http://web.shop/a?b"),
    ] {
        let mut exchange = exchange("/a?b", None, known());
        let step = run(&[RouteFilter::Redirect(redirect)], &mut exchange, Arc::new(Kept::default())).await;
        let Step::Answer(response) = step else { panic!("{step:?}") };
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()["location"], expected);
    }
    // Who came in by TLS is sent on by it.
    for (port, host, expected) in [
        (443, "web.shop", "https://web.shop/a?b"),
        (8443, "web.shop", "https://web.shop:8443/a?b"),
        (8443, "web.shop:443", "https://web.shop/a?b"),
        (80, "web.shop", "https://web.shop/a?b"),
    ] {
        let mut exchange = exchange("/a?b", None, known());
        exchange.request.headers_mut().insert("host", host.parse().unwrap());
        exchange.request.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
        exchange.facts = Arc::new(Facts { port, ..Facts::clone(&exchange.facts) });
        let filters = [RouteFilter::Redirect(redirect(None, None, None))];
        let step = run(&filters, &mut exchange, Arc::new(Kept::default())).await;
        let Step::Answer(response) = step else { panic!("{step:?}") };
        assert_eq!(response.headers()["location"], expected, "{port} {host}");
    }
}

#[tokio::test]
async fn who_may_not_ask_is_told_nothing_by_a_redirect_and_nothing_is_mirrored() {
    let redirect = Redirect { scheme: None, hostname: None, port: None, path: None, status: 301 };
    let target = BackendTarget::Service { service: "shop/copy".parse().unwrap(), port: 80 };
    let mirror = Mirror { target, numerator: 1, denominator: 1 };
    let kept = Arc::new(Kept::default());
    let mut exchange = exchange("/", None, Peer::Unknown);
    let filters = [RouteFilter::Mirror(mirror), RouteFilter::Redirect(redirect)];
    let step = run(&filters, &mut exchange, Arc::clone(&kept) as Arc<dyn Upstreams>).await;
    assert!(matches!(step, Step::Refuse(_)), "{step:?}");
    assert!(kept.copies.lock().unwrap().is_empty());
}

#[test]
fn what_cannot_be_realised_is_named() {
    let header = |name: &str, value: &str| {
        RouteFilter::RequestHeaders(HeaderEdit {
            set: vec![(name.into(), value.into())],
            ..HeaderEdit::default()
        })
    };
    let redirect = |status, scheme: Option<&str>, host: Option<&str>| {
        let (scheme, hostname) = (scheme.map(Into::into), host.map(Into::into));
        RouteFilter::Redirect(Redirect { scheme, hostname, port: None, path: None, status })
    };
    let rewrite = |path: PathRewrite| RouteFilter::Rewrite(Rewrite { hostname: None, path: Some(path) });
    let mirror = |numerator, denominator| {
        RouteFilter::Mirror(Mirror { target: BackendTarget::Broken("".into()), numerator, denominator })
    };
    for (filter, broken) in [
        (header("a b", ""), Some(BrokenFilter::HeaderName("a b".into()))),
        (header("a", "x\r\ny: z"), Some(BrokenFilter::HeaderValue("x\r\ny: z".into()))),
        (header("a", "x"), None),
        (redirect(200, None, None), Some(BrokenFilter::RedirectStatus(200))),
        (redirect(301, Some("ftp"), None), Some(BrokenFilter::Scheme("ftp".into()))),
        (redirect(301, None, Some("a/b")), Some(BrokenFilter::Host("a/b".into()))),
        (redirect(308, Some("https"), Some("a.b")), None),
        (rewrite(PathRewrite::Full("x".into())), Some(BrokenFilter::Path("x".into()))),
        (rewrite(PathRewrite::Prefix("/x?y".into())), Some(BrokenFilter::Path("/x?y".into()))),
        (rewrite(PathRewrite::Prefix("".into())), None),
        (mirror(1, 0), Some(BrokenFilter::Fraction { numerator: 1, denominator: 0 })),
        (mirror(2, 1), Some(BrokenFilter::Fraction { numerator: 2, denominator: 1 })),
        (mirror(1, 1), None),
    ] {
        assert_eq!(Plan::compile(std::slice::from_ref(&filter)).err(), broken, "{filter:?}");
    }
}

#[tokio::test]
async fn a_mirror_is_sent_what_streams_and_breaks_off_where_it_falls_behind() {
    let target = BackendTarget::Service { service: "shop/copy".parse().unwrap(), port: 80 };
    let mirror = RouteFilter::Mirror(Mirror { target, numerator: 1, denominator: 1 });
    let chunks = |count: usize| {
        let frames = (0..count).map(|_| Ok::<_, exchange::BodyError>(http_body::Frame::data("x".into())));
        Body::piped(http_body_util::StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>())))
    };
    // On one thread the copy does not run before the original is read: so many frames wait, and no more.
    for (count, whole) in [(10, true), (filters::mirror::FRAMES_WAITING_MAX * 2, false)] {
        let kept = Arc::new(Kept::default());
        let mut exchange = exchange("/", None, known());
        *exchange.request.body_mut() = chunks(count);
        run(std::slice::from_ref(&mirror), &mut exchange, Arc::clone(&kept) as Arc<dyn Upstreams>).await;
        let original = exchange.take_request().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(original.len(), count, "the original is whole in any case");
        kept.told.notified().await;
        let copies = kept.copies.lock().unwrap();
        assert_eq!(copies[0].is_ok(), whole, "{count}: {copies:?}");
    }
}

#[tokio::test]
async fn a_mirror_copies_its_share() {
    let target = BackendTarget::Service { service: "shop/copy".parse().unwrap(), port: 80 };
    for (chance, copied) in [(0, true), (1, true), (2, false), (9, false), (10, true)] {
        let mirror = Mirror { target: target.clone(), numerator: 2, denominator: 10 };
        let kept = Arc::new(Kept::default());
        let plan = Plan::compile(&[RouteFilter::Mirror(mirror)]).unwrap();
        let mirrors = Mirrors::new(Arc::clone(&kept) as Arc<dyn Upstreams>);
        let mut chain =
            Plan::chain(&[&plan], Guests::default(), &Surroundings { mirrors, chance }, Trail::default());
        let _ = chain.request(&mut exchange("/", None, known())).await;
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(!kept.copies.lock().unwrap().is_empty(), copied, "{chance}");
    }
}

/// Knows one guard at one service.
struct Guarded(Place, Arc<Guard>);

impl Known for Guarded {
    fn guards(&self, places: &[Place]) -> Vec<Arc<Guard>> {
        places.iter().filter(|place| **place == self.0).map(|_| Arc::clone(&self.1)).collect()
    }

    fn quotas(&self, _: &[Place]) -> Vec<Arc<Quota>> {
        Vec::new()
    }

    fn catalogue(&self, _: &mesh::names::ObjectName) -> Option<Arc<Catalogue>> {
        None
    }

    fn secret(&self, _: &mesh::names::ObjectName) -> Option<Arc<Secret>> {
        None
    }

    fn issuer(&self, _: &str) -> Option<Arc<Issuer>> {
        None
    }
}

#[tokio::test]
async fn nothing_is_copied_past_a_guard_of_the_mirror() {
    let place = |name: &str| Place::Service { service: name.parse().unwrap(), port: 80 };
    for (guarded, mode, copied) in [
        (place("shop/copy"), Mode::Enforce, false),
        (place("shop/copy"), Mode::Audit, true),
        (place("shop/web"), Mode::Enforce, true),
    ] {
        let guard = Guard {
            name: "GuardPolicy/shop/g".parse().unwrap(),
            mode,
            broken: None,
            patterns: Vec::new(),
            sizes: GuardSizes::default(),
            origins: None,
            external: None,
        };
        let target = BackendTarget::Service { service: "shop/copy".parse().unwrap(), port: 80 };
        let mirror = RouteFilter::Mirror(Mirror { target, numerator: 1, denominator: 1 });
        let mut exchange = exchange("/a", None, known());
        exchange.known = Arc::new(Guarded(guarded, Arc::new(guard)));
        let plan = Plan::compile(&[mirror]).unwrap();
        let mirrors = Mirrors::new(Arc::new(Kept::default()));
        let surroundings = Surroundings { mirrors: mirrors.clone(), chance: 7 };
        let mut chain = Plan::chain(&[&plan], Guests::default(), &surroundings, Trail::default());
        chain.request(&mut exchange).await;
        assert_eq!(mirrors.given_up(), u64::from(!copied), "{mode:?}");
    }
}
