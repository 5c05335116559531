//! Hosts outside the mesh: resolved and looked at, verified by name, told nothing of who calls.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use exchange::BoxFuture;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh::{names::ObjectName, resource::*};
use transport::{
    DialError,
    tls::{EdgeTls, ServerCertificate, accept_edge},
};
use waypoint::upstreams::guarded::Resolve;

use crate::{
    support::*,
    web::{WebAuthority, WebCertificate},
};

/// Answers for the host `api.example` with these addresses, one after the other; the last stays.
struct Says {
    answers: Vec<&'static str>,
    asked: Arc<AtomicUsize>,
}

impl Resolve for Says {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, Result<Vec<SocketAddr>, DialError>> {
        assert_eq!(host, "api.example");
        let turn = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len() - 1);
        let address = SocketAddr::new(self.answers[turn].parse().unwrap(), port);
        Box::pin(std::future::ready(Ok(vec![address])))
    }
}

/// A server outside; with a certificate it speaks TLS. What it was sent in clear text although it speaks TLS counts.
fn server(certificate: Option<&WebCertificate>, app: App) -> SocketAddr {
    let listener = listener();
    let at = address(&listener);
    let tls = certificate
        .map(|it| EdgeTls::new(vec![ServerCertificate::from_pem(&it.chain, &it.key).unwrap()]).unwrap());
    tokio::spawn(async move {
        while let Ok(socket) = listener.accept().await {
            let (tls, app) = (tls.clone(), app.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request| {
                    let app = app.clone();
                    async move { Ok::<_, std::convert::Infallible>(app(request).await) }
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                match tls {
                    None => {
                        let _ = builder.serve_connection_with_upgrades(TokioIo::new(socket), service).await;
                    }
                    Some(tls) => {
                        let shaken = accept_edge(socket, PATIENCE, |_| Some((tls, ()))).await;
                        let Ok((stream, ())) = shaken else { return };
                        let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                    }
                }
            });
        }
    });
    at
}

/// A mesh in which `web` stands for a host outside.
async fn mesh(
    host: ExternalHost,
    answers: &[&'static str],
    auth: Option<UpstreamAuth>,
) -> (Mesh, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let resolver = Says { answers: answers.to_vec(), asked: Arc::clone(&asked) };
    let mesh = Mesh::with(|plan| {
        plan.resolver = Some(Arc::new(resolver));
        plan.secrets.push(Secret {
            name: ObjectName::new("Secret", "shop", "key"),
            data: [("token".into(), Hidden("canary".into()))].into(),
        });
        let name = ObjectName::new("AgentBackend", "shop", "api");
        plan.services[0].ports.get_mut(&80).unwrap().backend = Some(name.clone());
        plan.backends.push(Backend {
            name,
            hostnames: Vec::new(),
            kind: BackendKind::Host { target: BackendTarget::Host(host), auth },
            set: "open".into(),
            traffic: Traffic::default(),
            catalogue: None,
            broken: None,
        });
    })
    .await;
    (mesh, asked)
}

fn plain(port: u16, private: bool) -> ExternalHost {
    ExternalHost { host: "api.example".into(), port, tls: None, private }
}

fn secured(port: u16, name: &str, roots: &str) -> ExternalHost {
    let tls = HostTls { hostname: name.into(), roots: Some(roots.into()) };
    ExternalHost { host: "api.example".into(), port, tls: Some(tls), private: true }
}

fn denied(answer: &Answer) -> &str {
    answer.headers.get("x-strait-denied").map_or("", |value| value.to_str().unwrap())
}

async fn ask(mesh: &Mesh) -> Answer {
    let request = request("/a")
        .header("authorization", "Bearer of-the-caller")
        .header("cookie", "session=of-the-caller")
        .header("x-forwarded-for", "10.20.0.9")
        .header("x-forwarded-client-cert", "URI=spiffe://east/ns/shop/sa/admin");
    mesh.http1("shop/planner", WEB_VIP).await.whole(request.body(body("")).unwrap()).await
}

#[tokio::test]
async fn a_host_outside_learns_nothing_of_who_calls() {
    let at = server(None, telling("outside"));
    let auth = UpstreamAuth {
        secret: ObjectName::new("Secret", "shop", "key"),
        key: "token".into(),
        scheme: AuthScheme::Bearer,
    };
    for (auth, shown) in [(Some(auth), Some("authorization: Bearer canary\n")), (None, None)] {
        let (mesh, _) = mesh(plain(at.port(), true), &["127.0.0.1"], auth).await;
        let answer = ask(&mesh).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = &answer.body;
        assert!(body.starts_with("outside GET /a\n"), "{body}");
        assert!(body.contains(&format!("host: api.example:{}", at.port())), "{body}");
        for secret in ["spiffe", "of-the-caller", "10.20.0.9", "x-forwarded", "web.shop", "planner"] {
            assert!(!body.contains(secret), "{secret}: {body}");
        }
        assert_eq!(body.contains("authorization"), shown.is_some());
        assert!(shown.is_none_or(|shown| body.contains(shown)), "{body}");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_held_sends_nothing() {
    let at = server(None, telling("outside"));
    let auth = UpstreamAuth {
        secret: ObjectName::new("Secret", "shop", "gone"),
        key: "token".into(),
        scheme: AuthScheme::Bearer,
    };
    let (mesh, asked) = mesh(plain(at.port(), true), &["127.0.0.1"], Some(auth)).await;
    assert_eq!(ask(&mesh).await.status, 500);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn names_that_lead_to_addresses_that_are_not_public_are_refused() {
    let at = server(None, telling("outside"));
    for (private, answer) in [
        (false, "127.0.0.1"),
        (false, "169.254.169.254"),
        (false, "10.0.0.1"),
        (false, "::1"),
        (false, "::ffff:127.0.0.1"),
        (false, "fd00::1"),
        (false, "64:ff9b::7f00:1"),
        (false, "0.0.0.0"),
        // Where the object says that it is private, what is in the mesh or nobody's is refused all the same.
        (true, "10.20.0.11"),
        (true, "::ffff:10.20.0.11"),
        (true, "0.0.0.0"),
        (true, "224.0.0.1"),
    ] {
        let (mesh, _) = mesh(plain(at.port(), private), &[answer], None).await;
        let said = ask(&mesh).await;
        assert_eq!(said.status, 503, "{answer}: {said:?}");
        assert!(denied(&said).contains("reason=PrivateAddress"), "{answer}: {said:?}");
    }
}

#[tokio::test]
async fn attack_ssrf_what_was_looked_at_is_what_is_connected_to() {
    let at = server(None, telling("outside"));
    // A second resolution would lead into the mesh.
    let (mesh, asked) = mesh(plain(at.port(), true), &["127.0.0.1", "10.20.0.11"], None).await;
    for _ in 0..3 {
        assert_eq!(ask(&mesh).await.status, 200);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "one connection, one resolution");
}

#[tokio::test]
async fn attack_ssrf_a_name_that_flips_is_judged_at_each_connection() {
    // It closes each connection after its answer, so that the next request needs another.
    let closing = app(|_| async {
        let mut response = text("outside");
        response.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        response
    });
    let at = server(None, closing);
    let (mesh, asked) = mesh(plain(at.port(), true), &["127.0.0.1", "10.20.0.11"], None).await;
    assert_eq!(ask(&mesh).await.status, 200);
    let flipped = async {
        loop {
            let answer = ask(&mesh).await;
            if answer.status != 200 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, flipped).await.expect("it is asked again");
    assert!(denied(&answer).contains("PrivateAddress"), "{answer:?}");
    assert!(asked.load(Ordering::SeqCst) >= 2);
}

#[tokio::test]
async fn a_host_proves_its_name_or_is_not_spoken_to() {
    let (web, other) = (WebAuthority::new(), WebAuthority::new());
    let good = web.certificate(&["api.example"]);
    let expired = web.ending(&["api.example"], 2020);
    for (certificate, name, root, expected) in [
        (Some(&good), "api.example", &web.root, true),
        (Some(&good), "other.example", &web.root, false),
        (Some(&expired), "api.example", &web.root, false),
        (Some(&good), "api.example", &other.root, false),
        // It speaks no TLS at all: plain text is no way out.
        (None, "api.example", &web.root, false),
    ] {
        let hits = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&hits);
        let at = server(
            certificate,
            app(move |request| {
                count.fetch_add(1, Ordering::SeqCst);
                async move { text(format!("{:?}", request.version())) }
            }),
        );
        let (mesh, _) = mesh(secured(at.port(), name, root), &["127.0.0.1"], None).await;
        let answer = ask(&mesh).await;
        if expected {
            assert_eq!((answer.status, &*answer.body), (200, "HTTP/2.0"), "{answer:?}");
        } else {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(denied(&answer).contains("reason=HandshakeFailed"), "{answer:?}");
            assert_eq!(hits.load(Ordering::SeqCst), 0, "not one request reached it");
        }
    }
}

#[tokio::test]
async fn attack_ssrf_an_answer_that_leads_elsewhere_is_given_back_as_it_is() {
    let at = server(
        None,
        app(|_| async {
            let mut response = text("");
            *response.status_mut() = http::StatusCode::FOUND;
            let location = http::HeaderValue::from_static("http://169.254.169.254/latest/meta-data");
            response.headers_mut().insert("location", location);
            response
        }),
    );
    let (mesh, asked) = mesh(plain(at.port(), true), &["127.0.0.1"], None).await;
    let answer = ask(&mesh).await;
    assert_eq!(answer.status, 302);
    assert_eq!(answer.headers["location"], "http://169.254.169.254/latest/meta-data");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_there_is_said() {
    let gone = {
        let listener = listener();
        address(&listener)
    };
    let (mesh, _) = mesh(plain(gone.port(), true), &["127.0.0.1"], None).await;
    let answer = ask(&mesh).await;
    assert_eq!(answer.status, 503);
    assert!(denied(&answer).contains("reason=Unreachable"), "{answer:?}");
}
