//! Routes: rules, weights, filters, and what Gateway API says where they lead nowhere.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mesh::{names::ObjectName, resource::*};
use tokio::sync::Notify;

use crate::support::*;

fn matching(path: &str) -> RouteMatch {
    RouteMatch { path: PathMatch::Prefix(path.into()), method: None, headers: Vec::new(), query: Vec::new() }
}

fn to(service: &str, weight: u32) -> WeightedBackend {
    let target = BackendTarget::Service { service: key(service), port: 80 };
    WeightedBackend { target, weight, filters: Vec::new(), traffic: Traffic::default() }
}

fn rule(matches: RouteMatch, backends: Vec<WeightedBackend>) -> RouteRule {
    RouteRule {
        name: "".into(),
        matches: vec![matches],
        filters: Vec::new(),
        backends,
        traffic: Traffic::default(),
        broken: None,
    }
}

fn route(rules: Vec<RouteRule>) -> Route {
    Route {
        name: ObjectName::new("HTTPRoute", "shop", "web"),
        created: None,
        parents: vec![RouteParent::Service { service: key(WEB), port: None }],
        hostnames: Vec::new(),
        rules,
        set: "open".into(),
    }
}

const ONE: &str = "shop/one.shop.svc.cluster.local";
const TWO: &str = "shop/two.shop.svc.cluster.local";

/// Two services with an endpoint each, and a route on `web`.
async fn mesh(rules: Vec<RouteRule>) -> Mesh {
    mesh_with(&[("web-1", telling("web-1")), ("web-2", telling("web-2"))], rules).await
}

async fn mesh_with(apps: &[(&str, App)], rules: Vec<RouteRule>) -> Mesh {
    Mesh::serving(apps, |plan| {
        plan.services.push(Service { addresses: Vec::new(), ..service(ONE, 9, Protocol::Http) });
        plan.services.push(Service { addresses: Vec::new(), ..service(TWO, 9, Protocol::Http) });
        for workload in &mut plan.workloads {
            match &*workload.name {
                "web-1" => *workload = serving(workload.clone(), ONE),
                "web-2" => *workload = serving(workload.clone(), TWO),
                _ => {}
            }
        }
        plan.routes.push(route(rules));
    })
    .await
}

#[tokio::test]
async fn weights_split_and_a_header_leads_a_tester() {
    let header = NamedMatch { name: "x-tester".into(), value: TextMatch::Exact("yes".into()) };
    let tester = RouteMatch { headers: vec![header], ..matching("/") };
    let mesh =
        mesh(vec![rule(tester, vec![to(TWO, 1)]), rule(matching("/"), vec![to(ONE, 90), to(TWO, 10)])]).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let mut ones = 0;
    for _ in 0..200 {
        ones += usize::from(client.get("/").await.name() == "web-1");
    }
    // 180 are expected; below 150 or all 200 happen once in many millions of runs.
    assert!((150..200).contains(&ones), "{ones}");
    for _ in 0..5 {
        let request = request("/").header("x-tester", "yes").body(body("")).unwrap();
        assert_eq!(client.whole(request).await.name(), "web-2");
    }
}

#[tokio::test]
async fn what_no_rule_matches_is_404_and_what_leads_nowhere_is_500() {
    let mut broken = rule(matching("/broken"), vec![to(ONE, 1)]);
    broken.broken = Some("for a test".into());
    let nowhere = WeightedBackend { target: BackendTarget::Broken("no such service".into()), ..to(ONE, 1) };
    let mesh = mesh(vec![
        rule(matching("/one"), vec![to(ONE, 1)]),
        rule(matching("/none"), Vec::new()),
        rule(matching("/zero"), vec![to(ONE, 0)]),
        rule(matching("/nowhere"), vec![nowhere]),
        rule(matching("/unknown"), vec![to("shop/gone.shop.svc.cluster.local", 1)]),
        broken,
    ])
    .await;
    for (path, expected) in [
        ("/one", 200),
        ("/other", 404),
        ("/none", 500),
        ("/zero", 500),
        ("/nowhere", 500),
        ("/unknown", 500),
        ("/broken", 500),
    ] {
        assert_eq!(mesh.get("lab/planner", path).await.status, expected, "{path}");
    }
}

#[tokio::test]
async fn filters_change_what_they_say() {
    let edit = HeaderEdit {
        set: vec![("x-set".into(), "new".into())],
        add: vec![("x-add".into(), "more".into())],
        remove: vec!["x-remove".into()],
    };
    let mut rewriting = rule(matching("/old"), vec![to(ONE, 1)]);
    rewriting.filters = vec![
        RouteFilter::RequestHeaders(edit.clone()),
        RouteFilter::ResponseHeaders(edit),
        RouteFilter::Rewrite(Rewrite {
            hostname: Some("other.example".into()),
            path: Some(PathRewrite::Prefix("/new".into())),
        }),
    ];
    let mut redirecting = rule(matching("/moved"), Vec::new());
    redirecting.filters = vec![RouteFilter::Redirect(Redirect {
        scheme: Some("https".into()),
        hostname: None,
        port: None,
        path: Some(PathRewrite::Full("/here".into())),
        status: 301,
    })];
    let mesh = mesh(vec![rewriting, redirecting]).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let asked = request("/old/x?q=1")
        .header("x-set", "old")
        .header("x-add", "one")
        .header("x-remove", "1")
        .body(body(""));
    let answer = client.whole(asked.unwrap()).await;
    assert!(answer.body.starts_with("web-1 GET /new/x?q=1\n"), "{}", answer.body);
    for line in ["host: other.example", "x-set: new", "x-add: more\nx-add: one"] {
        assert!(answer.body.contains(line), "{line}: {}", answer.body);
    }
    assert!(!answer.body.contains("x-remove"), "{}", answer.body);
    assert_eq!(answer.headers["x-set"], "new");
    let answer = client.get("/moved/x?q=1").await;
    assert_eq!(answer.status, 301);
    assert_eq!(answer.headers["location"], "https://web.shop/here?q=1");
}

#[tokio::test]
async fn cors_answers_preflights_before_policies_and_marks_refusals() {
    let mut cors = rule(matching("/"), vec![to(ONE, 1)]);
    cors.filters = vec![RouteFilter::Cors(Cors {
        allow_origins: vec!["https://*.example.com".into()],
        allow_methods: vec!["GET".into(), "PUT".into()],
        allow_credentials: true,
        ..Cors::default()
    })];
    let mesh = mesh(vec![cors]).await;
    let mut web = service(WEB, 1, Protocol::Http);
    web.ports.insert(80, port(Protocol::Http, "closed"));
    mesh.apply(vec![Resource::Service(web.into())]);
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let asked = |method: &str, origin: &str| {
        let builder = request("/").method(method).header("origin", origin);
        let builder = if method == "OPTIONS" {
            builder.header("access-control-request-method", "PUT")
        } else {
            builder
        };
        builder.body(body("")).unwrap()
    };
    let answer = client.whole(asked("OPTIONS", "https://a.example.com")).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example.com");
    assert_eq!(answer.headers["access-control-allow-methods"], "GET, PUT");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    for origin in
        ["https://example.com", "https://evil.org", "https://a.example.com.evil.org", "http://a.example.com"]
    {
        let answer = client.whole(asked("OPTIONS", origin)).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
    let answer = client.whole(asked("GET", "https://a.example.com")).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example.com");
}

#[tokio::test]
async fn a_mirror_gets_a_copy_and_its_answer_is_dropped() {
    let copied = Arc::new(Notify::new());
    let count = Arc::new(AtomicUsize::new(0));
    let mirror = {
        let (copied, count) = (Arc::clone(&copied), Arc::clone(&count));
        app(move |request: http::Request<hyper::body::Incoming>| {
            let (copied, count) = (Arc::clone(&copied), Arc::clone(&count));
            async move {
                use http_body_util::BodyExt;
                let body =
                    request.into_body().collect().await.map(|body| body.to_bytes().len()).unwrap_or_default();
                count.fetch_add(body, Ordering::SeqCst);
                copied.notify_one();
                text("of the mirror")
            }
        })
    };
    let mut mirrored = rule(matching("/"), vec![to(ONE, 1)]);
    let target = BackendTarget::Service { service: key(TWO), port: 80 };
    mirrored.filters = vec![RouteFilter::Mirror(Mirror { target, numerator: 1, denominator: 1 })];
    let mesh = mesh_with(&[("web-1", telling("web-1")), ("web-2", mirror)], vec![mirrored]).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let asked = request("/").method("POST").body(body(&"x".repeat(100_000))).unwrap();
    let answer = client.whole(asked).await;
    assert_eq!(answer.name(), "web-1");
    tokio::time::timeout(PATIENCE, copied.notified()).await.expect("a copy");
    assert_eq!(count.load(Ordering::SeqCst), 100_000);
}

#[tokio::test]
async fn a_broken_backend_is_503_and_an_edit_of_the_route_is_in_force_at_once() {
    let mesh = mesh(vec![rule(matching("/"), vec![to(ONE, 1)])]).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    assert_eq!(client.get("/").await.name(), "web-1");
    mesh.apply(vec![Resource::Route(route(vec![rule(matching("/"), vec![to(TWO, 1)])]).into())]);
    assert_eq!(client.get("/").await.name(), "web-2");
    let name = ObjectName::new("AgentBackend", "shop", "tools");
    let backend = Backend {
        catalogue: None,
        name: name.clone(),
        hostnames: Vec::new(),
        kind: BackendKind::Mcp { servers: Vec::new() },
        set: "open".into(),
        traffic: Traffic::default(),
        broken: Some("for a test".into()),
    };
    let broken = WeightedBackend { target: BackendTarget::Agent(name), ..to(ONE, 1) };
    mesh.apply(vec![
        Resource::Backend(backend.into()),
        Resource::Route(route(vec![rule(matching("/"), vec![broken])]).into()),
    ]);
    assert_eq!(client.get("/").await.status, 503);
    // Without its route the service is reached directly again.
    let gone = Key::new(Kind::Route, ObjectName::new("HTTPRoute", "shop", "web"));
    mesh.change(vec![mesh::snapshot::Change::Remove(gone)]);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn timeouts_and_retries_are_those_of_the_rule() {
    let tries = Arc::new(AtomicUsize::new(0));
    let flaky = {
        let tries = Arc::clone(&tries);
        app(move |request: http::Request<hyper::body::Incoming>| {
            let attempt = tries.fetch_add(1, Ordering::SeqCst);
            async move {
                if request.uri().path() == "/slow" {
                    std::future::pending::<()>().await;
                }
                let _ = http_body_util::BodyExt::collect(request.into_body()).await;
                let mut response = text("at last");
                if attempt < 2 {
                    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                }
                response
            }
        })
    };
    let retries = Retries { attempts: 2, codes: vec![503], backoff: Some(Millis(1)) };
    let mut retried = rule(matching("/"), vec![to(ONE, 1)]);
    retried.traffic = Traffic { retries: Some(retries), ..Traffic::default() };
    let mut slow = rule(matching("/slow"), vec![to(ONE, 1)]);
    slow.traffic = Traffic { request_timeout: Some(Millis(50)), ..Traffic::default() };
    let mesh = mesh_with(&[("web-1", flaky)], vec![retried, slow]).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "at last"));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert_eq!(client.get("/slow").await.status, 504);
    // A body that streams is sent once, and what was answered first is what counts.
    tries.store(0, Ordering::SeqCst);
    let asked = request("/").method("POST").body(body(&"x".repeat(100_000))).unwrap();
    assert_eq!(client.whole(asked).await.status, 503);
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}
