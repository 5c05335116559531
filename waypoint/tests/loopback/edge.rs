//! The edge: listeners for those outside the mesh, told apart by name, with certificates that change.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mesh::{
    Reason,
    names::ObjectName,
    resource::{Listener, *},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transport::{
    Address, DialError,
    dial::{Target, dial},
    tls::Alpn,
};
use waypoint::edge::{
    certificates::Certificates,
    keep::{self, Config, Standing},
};

use crate::{
    support::*,
    web::{Visitor, WebAuthority},
};

const HTTP: u16 = 8080;
const HTTPS: u16 = 8443;

fn gateway() -> ObjectName {
    ObjectName::new("Gateway", "shop", "waypoint")
}

fn listener(name: &str, port: u16, host: Option<&str>, certificates: Option<&[&str]>) -> Listener {
    let role = match certificates {
        None => ListenerRole::Http,
        Some(names) => ListenerRole::Https {
            certificates: names.iter().map(|name| ObjectName::new("Secret", "shop", name)).collect(),
        },
    };
    Listener {
        gateway: gateway(),
        name: name.into(),
        port,
        role,
        hostname: host.map(|host| HostPattern(host.into())),
        set: "open".into(),
        traffic: Traffic::default(),
    }
}

/// A route at listeners that says which of them it was: `x-part: NAME`.
fn route(name: &str, listeners: &[&str], backends: &[(&str, u32)]) -> Route {
    let parent = |listener: &&str| RouteParent::Listener { gateway: gateway(), listener: (*listener).into() };
    let backend = |(part, weight): &(&str, u32)| {
        let set = vec![("x-part".into(), (*part).into())];
        WeightedBackend {
            target: BackendTarget::Service { service: key(WEB), port: 80 },
            weight: *weight,
            filters: vec![RouteFilter::ResponseHeaders(HeaderEdit { set, ..HeaderEdit::default() })],
            traffic: Traffic::default(),
        }
    };
    Route {
        name: ObjectName::new("HTTPRoute", "shop", name),
        created: None,
        parents: listeners.iter().map(parent).collect(),
        hostnames: Vec::new(),
        rules: vec![RouteRule {
            name: "".into(),
            matches: vec![RouteMatch {
                path: PathMatch::Prefix("/".into()),
                method: None,
                headers: Vec::new(),
                query: Vec::new(),
            }],
            filters: Vec::new(),
            backends: backends.iter().map(backend).collect(),
            traffic: Traffic::default(),
            broken: None,
        }],
        set: "open".into(),
    }
}

/// The edge of a gateway, at an address of its own.
struct Edge {
    mesh: Mesh,
    at: IpAddr,
    standing: Standing,
}

impl Edge {
    async fn new(change: impl FnOnce(&mut Plan)) -> Self {
        Self::with(Config::default(), change).await
    }

    async fn with(config: Config, change: impl FnOnce(&mut Plan)) -> Self {
        let mesh = Mesh::with(change).await;
        let [a, b, c, _] = rand::random::<[u8; 4]>();
        let at = IpAddr::from([127, 128 | a, b, 2 | c & 0xfc]);
        let standing = Standing::default();
        tokio::spawn(keep::keep(
            Arc::clone(&mesh.waypoint),
            at,
            config,
            Certificates::default(),
            standing.clone(),
            mesh.drain.watch(),
        ));
        let edge = Self { mesh, at, standing };
        edge.settled(|ports| !ports.is_empty()).await;
        edge
    }

    /// Waits until the ports stand like this.
    async fn settled(
        &self,
        like: impl Fn(&std::collections::BTreeMap<u16, Result<SocketAddr, String>>) -> bool,
    ) {
        let settled = async {
            while !like(&self.standing.ports()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("the ports settle");
    }

    fn port(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.at, port)
    }

    async fn plain(&self) -> Visitor {
        Visitor::plain(self.port(HTTP)).await.expect("somebody listens")
    }

    async fn tls(&self, name: &str, root: &str) -> Result<Visitor, DialError> {
        Visitor::tls(self.port(HTTPS), name, root, Alpn::H2OrHttp1).await
    }
}

fn denied(answer: &Answer) -> &str {
    answer.headers.get("x-strait-denied").map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_stranger_comes_in_as_nobody_and_the_gateway_calls() {
    let edge = Edge::new(|plan| {
        plan.listeners.push(listener("http", HTTP, None, None));
        plan.routes.push(route("web", &["http"], &[("web", 1)]));
        // Nobody but the gateway may call the service, and nobody with an identity may come in.
        plan.sets.push(set("gateway-only", &["gateway"], DefaultAccess::None));
        plan.policies.push(policy("gateway", Action::Allow, "shop/waypoint", None));
        plan.services[0].ports.get_mut(&80).unwrap().set = "gateway-only".into();
    })
    .await;
    let mut visitor = edge.plain().await;
    let claims = [
        ("x-forwarded-client-cert", "By=x;URI=spiffe://east/ns/shop/sa/admin"),
        ("x-strait-origin", "spiffe://east/ns/shop/sa/admin"),
        ("x-forwarded-for", "10.20.0.1"),
        ("x-forwarded-proto", "https"),
    ];
    let answer = visitor.send("shop.example", "/a?b=c", &claims).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["x-part"], "web");
    let body = &answer.body;
    assert!(body.contains("GET /a?b=c") && body.contains("host: shop.example"), "{body}");
    assert!(body.contains("x-forwarded-for: 127.0.0.1\n"), "{body}");
    assert!(body.contains("x-forwarded-proto: http\n") && !body.contains("10.20.0.1"), "{body}");
    assert!(!body.contains("spiffe://"), "nothing claims an identity: {body}");
    let node = edge.mesh.node(answer.name());
    let seen = node.seen.lock()[0].clone();
    assert_eq!(seen.caller.workload, mesh::Peer::Verified(identity("shop/waypoint")));
}

#[tokio::test]
async fn what_no_listener_or_route_serves_is_not_found_and_says_why() {
    let edge = Edge::new(|plan| {
        plan.listeners.push(listener("http", HTTP, Some("*.shop.example"), None));
        plan.listeners.push(listener("bare", HTTP, Some("bare.shop.example"), None));
        let hosts = vec![HostPattern("a.shop.example".into())];
        plan.routes.push(Route { hostnames: hosts, ..route("web", &["http"], &[("web", 1)]) });
    })
    .await;
    let mut visitor = edge.plain().await;
    for (host, status) in [
        ("a.shop.example", 200),
        ("A.shop.example:8080", 200),
        ("b.shop.example", 404),
        ("shop.example", 404),
        ("elsewhere", 404),
        // The more specific listener has no route of its own, and the other's are not its.
        ("bare.shop.example", 404),
    ] {
        let answer = visitor.get(host, "/").await;
        assert_eq!(answer.status, status, "{host}: {answer:?}");
        assert_eq!(denied(&answer).contains("NoRoute"), status == 404, "{host}: {answer:?}");
    }
}

#[tokio::test]
async fn hosts_that_cannot_be_read_are_refused() {
    let edge = Edge::new(|plan| {
        plan.listeners.push(listener("http", HTTP, None, None));
        plan.routes.push(route("web", &["http"], &[("web", 1)]));
    })
    .await;
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: \r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:x\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
    ] {
        let target = Target { address: Address::Tcp(edge.port(HTTP)), from: None, timeout: PATIENCE };
        let mut socket = dial(&target).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("it closes").unwrap();
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with("HTTP/1.1 400"), "{head:?}: {said}");
    }
    assert_eq!(edge.plain().await.get("a", "/").await.status, 200, "others go on");
}

#[tokio::test]
async fn a_route_splits_by_weight() {
    let edge = Edge::new(|plan| {
        plan.listeners.push(listener("http", HTTP, None, None));
        plan.routes.push(route("web", &["http"], &[("old", 90), ("new", 10)]));
    })
    .await;
    let mut visitor = edge.plain().await;
    let mut new = 0;
    for _ in 0..400 {
        let answer = visitor.get("a", "/").await;
        assert_eq!(answer.status, 200);
        new += u32::from(answer.headers["x-part"] == "new");
    }
    // Six standard deviations on both sides of forty.
    assert!((4..=76).contains(&new), "{new} of 400 went to the new one");
}

#[tokio::test]
async fn over_tls_the_name_chooses_and_the_request_must_agree() {
    let web = WebAuthority::new();
    let (one, two) = (web.certificate(&["a.example"]), web.certificate(&["*.b.example", "c.b.example"]));
    let edge = Edge::new(|plan| {
        plan.secrets.extend([one.secret("one"), two.secret("two")]);
        plan.listeners.push(listener("a", HTTPS, Some("a.example"), Some(&["one"])));
        plan.listeners.push(listener("b", HTTPS, Some("*.b.example"), Some(&["gone", "two"])));
        plan.listeners.push(listener("bare", HTTPS, Some("bare.example"), Some(&["gone"])));
        plan.routes.push(route("a", &["a"], &[("a", 1)]));
        plan.routes.push(route("b", &["b"], &[("b", 1)]));
    })
    .await;
    let mut a = edge.tls("a.example", &web.root).await.expect("a is served");
    assert!(matches!(a, Visitor::Http2(_)), "HTTP/2 is agreed");
    let answer = a.get("a.example", "/").await;
    assert_eq!((answer.status, answer.headers["x-part"].to_str().unwrap()), (200, "a"), "{answer:?}");
    assert!(answer.body.contains("x-forwarded-proto: https"), "{answer:?}");
    let mut b =
        Visitor::tls(edge.port(HTTPS), "x.b.example", &web.root, Alpn::Http1).await.expect("b is served");
    assert_eq!(b.get("x.b.example", "/").await.headers["x-part"], "b");
    assert_eq!(b.get("y.b.example", "/").await.status, 200, "it is of the same listener");
    // Of another listener than the connection was chosen for.
    let answer = a.get("x.b.example", "/").await;
    assert_eq!(answer.status, 421, "{answer:?}");
    assert!(denied(&answer).contains("Misdirected"), "{answer:?}");
    assert_eq!(b.get("a.example", "/").await.status, 421);
    // Of none.
    assert_eq!(a.get("elsewhere", "/").await.status, 404);
    for name in ["elsewhere", "b.example", "bare.example"] {
        let refused = edge.tls(name, &web.root).await;
        assert!(matches!(refused, Err(DialError::Handshake { .. })), "{name}");
    }
    assert_eq!(a.get("a.example", "/").await.status, 200, "who is in stays");
    // Plain text on a port that speaks TLS.
    let mut plain = Visitor::plain(edge.port(HTTPS)).await.unwrap();
    assert!(plain.send("a.example", "/", &[]).await.is_err());
}

#[tokio::test]
async fn a_certificate_changes_without_a_connection_noticing() {
    let (old, new) = (WebAuthority::new(), WebAuthority::new());
    let edge = Edge::new(|plan| {
        plan.secrets.push(old.certificate(&["a.example"]).secret("one"));
        plan.listeners.push(listener("a", HTTPS, None, Some(&["one"])));
        plan.routes.push(route("a", &["a"], &[("a", 1)]));
    })
    .await;
    let mut before = edge.tls("a.example", &old.root).await.expect("the old one is shown");
    assert_eq!(before.get("a.example", "/").await.status, 200);
    assert!(edge.tls("a.example", &new.root).await.is_err());
    let closed =
        edge.mesh.apply(vec![Resource::Secret(Arc::new(new.certificate(&["a.example"]).secret("one")))]);
    assert_eq!(closed, 0);
    let mut after = edge.tls("a.example", &new.root).await.expect("the new one is shown");
    assert!(edge.tls("a.example", &old.root).await.is_err(), "and the old one no more");
    assert_eq!(after.get("a.example", "/").await.status, 200);
    assert_eq!(before.get("a.example", "/").await.status, 200, "the old connection goes on");
}

#[tokio::test]
async fn slow_handshakes_are_bounded_in_time_and_number() {
    let web = WebAuthority::new();
    let config = Config { handshakes: 1, handshake_timeout: Duration::from_millis(300), ..Config::default() };
    let edge = Edge::with(config, |plan| {
        plan.secrets.push(web.certificate(&["a.example"]).secret("one"));
        plan.listeners.push(listener("a", HTTPS, None, Some(&["one"])));
        plan.listeners.push(listener("http", HTTP, None, None));
        plan.routes.push(route("a", &["a", "http"], &[("a", 1)]));
    })
    .await;
    let target = Target { address: Address::Tcp(edge.port(HTTPS)), from: None, timeout: PATIENCE };
    let mut first = dial(&target).await.unwrap();
    // A record that never becomes whole.
    first.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    let mut said = Vec::new();
    // The reset may come as soon as the connection stands.
    if let Ok(mut second) = dial(&target).await {
        let closed =
            tokio::time::timeout(PATIENCE, second.read_to_end(&mut said)).await.expect("it is closed");
        assert!(closed.is_err() || said.is_empty(), "there is no room for another");
    }
    assert_eq!(edge.plain().await.get("a", "/").await.status, 200, "other ports go on");
    let closed = tokio::time::timeout(PATIENCE, first.read_to_end(&mut said)).await.expect("it is closed");
    assert!(closed.is_err() || said.is_empty());
    let mut third = edge.tls("a.example", &web.root).await.expect("there is room again");
    assert_eq!(third.get("a.example", "/").await.status, 200);
}

#[tokio::test]
async fn ports_come_and_go_with_their_listeners() {
    let edge = Edge::new(|plan| {
        plan.listeners.push(listener("http", HTTP, None, None));
        plan.routes.push(route("web", &["http", "more"], &[("web", 1)]));
    })
    .await;
    let mut visitor = edge.plain().await;
    assert_eq!(visitor.get("a", "/").await.status, 200);
    edge.mesh.apply(vec![Resource::Listener(Arc::new(listener("more", HTTP + 1, None, None)))]);
    edge.settled(|ports| ports.len() == 2).await;
    let mut more = Visitor::plain(edge.port(HTTP + 1)).await.expect("a port came");
    assert_eq!(more.get("a", "/").await.status, 200);
    let key = Key::new(Kind::Listener, "Gateway/shop/waypoint/http");
    let names: Vec<_> =
        edge.mesh.waypoint.worlds.load().snapshot.listeners().map(|it| it.key_name()).collect();
    assert!(names.contains(&"Gateway/shop/waypoint/http".to_owned()), "{names:?}");
    edge.mesh.change(vec![mesh::snapshot::Change::Remove(key)]);
    edge.settled(|ports| ports.len() == 1).await;
    visitor.ended().await;
    let gone = async {
        while Visitor::plain(edge.port(HTTP)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the port closes");
    assert_eq!(more.get("a", "/").await.status, 200, "the other goes on");
}

#[tokio::test]
async fn a_port_that_cannot_be_opened_harms_no_other() {
    let config = Config { port_offset: 1000, ..Config::default() };
    let edge = Edge::with(config, |plan| {
        plan.listeners.push(listener("high", 65000, None, None));
        plan.listeners.push(listener("both", 81, None, None));
        plan.listeners.push(listener("tls", 81, None, Some(&["one"])));
        plan.listeners.push(listener("http", HTTP - 1000, None, None));
        plan.routes.push(route("web", &["http"], &[("web", 1)]));
    })
    .await;
    edge.settled(|ports| ports.len() == 3).await;
    let ports = edge.standing.ports();
    assert!(ports[&65000].as_ref().unwrap_err().contains("is no port"), "{ports:?}");
    assert!(ports[&81].as_ref().unwrap_err().contains("with and without TLS"), "{ports:?}");
    assert_eq!(ports[&(HTTP - 1000)], Ok(edge.port(HTTP)));
    assert_eq!(edge.plain().await.get("a", "/").await.status, 200);
}

#[tokio::test]
async fn policies_of_the_way_in_hold_and_close_what_runs() {
    let edge = Edge::new(|plan| {
        plan.listeners.push(listener("http", HTTP, None, None));
        plan.listeners.push(Listener { set: "closed".into(), ..listener("shut", HTTP + 1, None, None) });
        // Of somebody with an identity, whom nobody outside can be.
        plan.policies.push(policy("planner", Action::Allow, "shop/planner", None));
        plan.policies.push(policy("not-us", Action::Deny, "shop/waypoint", None));
        plan.sets.push(set("planner-only", &["planner"], DefaultAccess::Open));
        plan.sets.push(set("not-us", &["not-us"], DefaultAccess::Open));
        plan.listeners
            .push(Listener { set: "planner-only".into(), ..listener("agents", HTTP + 2, None, None) });
        plan.listeners.push(Listener { set: "not-us".into(), ..listener("denied", HTTP + 3, None, None) });
        plan.routes.push(route("web", &["http", "shut", "agents", "denied"], &[("web", 1)]));
    })
    .await;
    edge.settled(|ports| ports.len() == 4).await;
    for (port, reason) in [(1, "NoGrant"), (2, "NoGrant"), (3, "IdentityUnknown")] {
        let answer = Visitor::plain(edge.port(HTTP + port)).await.unwrap().get("a", "/").await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(denied(&answer).contains(reason), "{answer:?}");
    }
    let mut visitor = edge.plain().await;
    assert_eq!(visitor.get("a", "/").await.status, 200);
    edge.mesh.apply(vec![Resource::Listener(Arc::new(Listener {
        set: "closed".into(),
        ..listener("http", HTTP, None, None)
    }))]);
    assert_eq!(visitor.get("a", "/").await.status, 403, "on the same connection");
    let reasons: Vec<Reason> = edge.mesh.refused.0.lock().iter().map(|denial| denial.reason).collect();
    assert!(reasons.contains(&Reason::NoGrant));
}
