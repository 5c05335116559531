//! External authorizers that are asked over real connections, by both of their protocols.

use std::{convert::Infallible, sync::Arc};

use http_body_util::BodyExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use mesh::resource::*;
use parking_lot::Mutex;
use proto::{
    envoy::service::auth::v3::{
        CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus,
        OkHttpResponse,
        authorization_server::{Authorization, AuthorizationServer},
    },
    google::rpc,
};
use tokio::task::{AbortHandle, JoinSet};

use crate::support::*;

/// An authorizer that says what the header `x-want` asks for, and keeps what it was asked.
#[derive(Clone, Default)]
struct Says(Arc<Mutex<Vec<CheckRequest>>>);

fn option(key: &str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: key.to_owned(), value: value.to_owned(), ..HeaderValue::default() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

#[tonic::async_trait]
impl Authorization for Says {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        let asked = request.into_inner();
        let http = asked.attributes.clone().unwrap_or_default().request.unwrap_or_default().http;
        let want = http.unwrap_or_default().headers.get("x-want").cloned().unwrap_or_default();
        self.0.lock().push(asked);
        let mut answer = CheckResponse { status: Some(rpc::Status::default()), ..CheckResponse::default() };
        match want.as_str() {
            "yes" => {
                answer.ok_response = Some(OkHttpResponse {
                    headers: vec![option("x-granted", "to ada"), option("x-strait-origin", "spiffe://evil")],
                    headers_to_remove: vec!["x-want".to_owned(), "host".to_owned()],
                });
            }
            "no" => {
                answer.status = Some(rpc::Status { code: 16, ..rpc::Status::default() });
                answer.denied_response = Some(DeniedHttpResponse {
                    status: Some(HttpStatus { code: 401 }),
                    headers: vec![option("www-authenticate", "Bearer realm=\"lab\"")],
                    body: "who are you?".to_owned(),
                });
            }
            "silence" => std::future::pending().await,
            _ => return Err(tonic::Status::internal("broken")),
        }
        Ok(tonic::Response::new(answer))
    }
}

/// A server on loopback; it ends with its connections when the handle is aborted.
fn serve<S, B>(service: S) -> (u16, AbortHandle)
where
    S: hyper::service::Service<http::Request<hyper::body::Incoming>, Response = http::Response<B>>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = listener();
    let port = address(&listener).port();
    let served = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok(socket) = listener.accept().await {
            let service = service.clone();
            connections.spawn(async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (port, served.abort_handle())
}

fn authorizer(port: u16, protocol: AuthorizerProtocol) -> Authorizer {
    let host = ExternalHost { host: "127.0.0.1".into(), port, tls: None, private: true };
    Authorizer {
        target: BackendTarget::Host(host),
        protocol,
        timeout: Millis(1000),
        headers: vec!["x-want".into()],
        upstream_headers: vec!["x-granted".into(), "x-strait-origin".into()],
        body_bytes: 64,
    }
}

/// Asks this authorizer before `web`, or before its endpoints.
fn asks(plan: &mut Plan, authorizer: Authorizer, at_endpoints: bool) {
    let anyone = Rule {
        name: "r".into(),
        from: vec![Source { anyone: true, ..Source::default() }],
        to: None,
        when: None,
    };
    plan.policies.push(Policy {
        rules: vec![anyone],
        authorizer: Some(authorizer),
        ..policy("asks", Action::ExternalAuth, "shop/planner", None)
    });
    plan.sets.push(set("asks", &["asks"], DefaultAccess::Open));
    if at_endpoints {
        for workload in plan.workloads.iter_mut().filter(|it| it.name.starts_with("web")) {
            workload.other_ports.set = "asks".into();
        }
    } else if let Some(port) = plan.services[0].ports.get_mut(&80) {
        port.set = "asks".into();
    }
}

async fn mesh(authorizer: Authorizer, at_endpoints: bool) -> Mesh {
    Mesh::with(|plan| asks(plan, authorizer, at_endpoints)).await
}

async fn ask(mesh: &Mesh, want: &str, content: &str) -> Answer {
    let request = request("/a?b=c").method("POST").header("x-want", want).header("x-other", "1");
    mesh.http1("shop/planner", WEB_VIP).await.whole(request.body(body(content)).unwrap()).await
}

fn reason(answer: &Answer) -> &str {
    let denied = answer.headers.get("x-strait-denied").map_or("", |value| value.to_str().unwrap());
    denied.rsplit("reason=").next().unwrap_or_default()
}

fn grpc() -> (Says, u16, AbortHandle) {
    let says = Says::default();
    let (port, server) = serve(TowerToHyperService::new(AuthorizationServer::new(says.clone())));
    (says, port, server)
}

#[tokio::test]
async fn an_authorizer_is_asked_by_grpc_and_only_its_yes_passes() {
    let (says, port, server) = grpc();
    let mesh = mesh(authorizer(port, AuthorizerProtocol::Grpc), false).await;
    let yes = ask(&mesh, "yes", "hello").await;
    assert_eq!(yes.status, 200, "{yes:?}");
    assert!(yes.body.contains("x-granted: to ada\n") && yes.body.ends_with("hello"), "{}", yes.body);
    assert!(!yes.body.contains("x-want") && !yes.body.contains("evil"), "{}", yes.body);
    assert!(yes.body.contains("host: web.shop"), "{}", yes.body);
    let asked = says.0.lock()[0].attributes.clone().unwrap();
    assert_eq!(asked.source.unwrap().principal, "spiffe://east/ns/shop/sa/planner");
    let http = asked.request.unwrap().http.unwrap();
    assert_eq!((http.method.as_str(), http.path.as_str(), http.body.as_str()), ("POST", "/a?b=c", "hello"));
    assert_eq!(http.headers.keys().collect::<Vec<_>>(), ["x-want"]);

    let no = ask(&mesh, "no", "").await;
    assert_eq!((no.status, no.body.as_str(), reason(&no)), (401, "who are you?", "ExternalDenied"));
    assert_eq!(no.headers["www-authenticate"], "Bearer realm=\"lab\"");
    for want in ["silence", "broken"] {
        let refused = ask(&mesh, want, "").await;
        assert_eq!((refused.status, reason(&refused)), (403, "ExternalFailed"), "{want}: {refused:?}");
    }
    let asked = says.0.lock().len();
    let large = ask(&mesh, "yes", &"x".repeat(65)).await;
    assert_eq!((large.status, reason(&large), says.0.lock().len()), (413, "TooMuch", asked));

    server.abort();
    let gone = ask(&mesh, "yes", "").await;
    assert_eq!((gone.status, reason(&gone)), (403, "ExternalFailed"), "{gone:?}");
}

#[tokio::test]
async fn an_authorizer_is_asked_by_http_and_only_its_yes_passes() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&seen);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let headers: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
        kept.lock().push(format!("{} {} {headers:?}", request.method(), request.uri()));
        let want = request.headers()["x-want"].to_str().unwrap_or_default().to_owned();
        async move {
            let mut response = text("who are you?");
            let headers = response.headers_mut();
            for (name, value) in [("x-granted", "to ada"), ("x-strait-origin", "evil"), ("x-more", "1")] {
                headers.insert(name, value.parse().unwrap());
            }
            *response.status_mut() = match want.as_str() {
                "yes" => http::StatusCode::OK,
                "no" => http::StatusCode::UNAUTHORIZED,
                "silence" => std::future::pending().await,
                _ => http::StatusCode::INTERNAL_SERVER_ERROR,
            };
            Ok::<_, Infallible>(response)
        }
    });
    let (port, server) = serve(service);
    let protocol = AuthorizerProtocol::Http { path_prefix: "/check".into() };
    let mesh = mesh(authorizer(port, protocol), false).await;
    let yes = ask(&mesh, "yes", "hello").await;
    assert_eq!(yes.status, 200, "{yes:?}");
    assert!(yes.body.contains("x-granted: to ada\n"), "{}", yes.body);
    assert!(!yes.body.contains("evil") && !yes.body.contains("x-more"), "{}", yes.body);
    assert!(seen.lock()[0].starts_with("POST /check/a?b=c "), "{seen:?}");
    assert!(!seen.lock()[0].contains("x-other"), "{seen:?}");
    let no = ask(&mesh, "no", "").await;
    assert_eq!((no.status, no.body.as_str(), reason(&no)), (401, "who are you?", "ExternalDenied"));
    for want in ["silence", "broken"] {
        let refused = ask(&mesh, want, "").await;
        assert_eq!((refused.status, reason(&refused)), (403, "ExternalFailed"), "{want}: {refused:?}");
    }
    server.abort();
    let gone = ask(&mesh, "yes", "").await;
    assert_eq!((gone.status, reason(&gone)), (403, "ExternalFailed"), "{gone:?}");
}

#[tokio::test]
async fn an_authorizer_of_the_chosen_endpoint_is_asked_too() {
    let (says, port, server) = grpc();
    let mesh = mesh(authorizer(port, AuthorizerProtocol::Grpc), true).await;
    let yes = ask(&mesh, "yes", "hello").await;
    assert_eq!(yes.status, 200, "{yes:?}");
    assert!(yes.body.contains("x-granted: to ada\n") && yes.body.ends_with("hello"), "{}", yes.body);
    assert_eq!(says.0.lock().len(), 1);
    let no = ask(&mesh, "no", "").await;
    assert_eq!((no.status, reason(&no)), (403, "ExternalDenied"), "{no:?}");
    let late = ask(&mesh, "silence", "").await;
    assert_eq!((late.status, reason(&late)), (403, "ExternalFailed"), "{late:?}");
    server.abort();
    let gone = ask(&mesh, "yes", "").await;
    assert_eq!((gone.status, reason(&gone)), (403, "ExternalFailed"), "{gone:?}");
}

#[tokio::test]
async fn an_authorizer_in_the_mesh_is_asked_as_the_waypoint_itself() {
    let says = Says::default();
    let served = says.clone();
    let server = app(move |request| {
        let mut server = AuthorizationServer::new(served.clone());
        async move {
            let answer = tonic::codegen::Service::call(&mut server, request).await.unwrap();
            let (head, body) = answer.into_parts();
            let body = body.collect().await.unwrap().boxed_unsync();
            http::Response::from_parts(head, body)
        }
    });
    let auth = "shop/auth.shop.svc.cluster.local";
    let mesh = Mesh::serving(&[("web-1", telling("web-1")), ("auth-1", server)], |plan| {
        plan.services.push(service(auth, 4, Protocol::Http2));
        let workload = plan.workloads.iter_mut().find(|it| &*it.name == "auth-1").unwrap();
        workload.services.clear();
        *workload = serving(workload.clone(), auth);
        let target = BackendTarget::Service { service: key(auth), port: 80 };
        asks(plan, Authorizer { target, ..authorizer(0, AuthorizerProtocol::Grpc) }, false);
    })
    .await;
    let yes = ask(&mesh, "yes", "hello").await;
    assert_eq!((yes.status, yes.name()), (200, "web-1"), "{yes:?}");
    assert!(yes.body.contains("x-granted: to ada\n"), "{}", yes.body);
    let seen = mesh.node("auth-1").seen.lock()[0].caller.workload.to_string();
    assert_eq!(seen, "spiffe://east/ns/shop/sa/waypoint");
    assert_eq!(says.0.lock().len(), 1);
    assert_eq!(ask(&mesh, "no", "").await.status, 401);
    mesh.node("auth-1").stop();
    let gone = ask(&mesh, "yes", "").await;
    assert_eq!((gone.status, reason(&gone)), (403, "ExternalFailed"), "{gone:?}");
}
