//! The one port of a control plane: configuration, certificates, reports, federation, and the bundle.
//!
//! TLS always. A client may show a certificate (linked control planes must, to read exports); who a proxy is, its
//! token says.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use runtime::DrainWatch;
use tokio::sync::Semaphore;
use tonic::{body::Body, service::Routes};
use tower::Service as _;
use transport::{
    Listener,
    tls::{ServerTls, TlsStream, incoming},
};
use wire::export::Peer;

/// Most connections at once: every proxy has two or three.
const CONNECTIONS_MAX: usize = 16_384;
/// Most handshakes at once.
const HANDSHAKES_MAX: usize = 256;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Most streams of one connection.
const STREAMS_MAX: u32 = 256;
/// How often a silent client is asked whether it still lives, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The path of the bundle (SPIFFE Trust Domain and Bundle, section 5).
const BUNDLE_PATH: &str = "/bundle";

/// The bundle as JSON, for who asks and what its query tells.
pub(crate) type BundlePage = Arc<dyn Fn(&Peer, &str) -> Option<Bytes> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) grpc: Routes,
    /// The bundle as JSON, for who asks and what its query tells.
    pub(crate) bundle: BundlePage,
}

/// Serves until the drain closes. `tls` is asked at each connection, so that what was renewed is used.
pub(crate) async fn serve(
    listener: Listener,
    tls: impl Fn() -> ServerTls + Send + Sync + 'static,
    services: Services,
    mut drain: DrainWatch,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut accepted = std::pin::pin!(incoming(listener, tls, HANDSHAKES_MAX, HANDSHAKE_TIMEOUT));
    loop {
        let stream = tokio::select! {
            stream = accepted.next() => stream,
            () = drain.draining() => return,
        };
        let stream = match stream {
            Some(Ok(stream)) => stream,
            Some(Err(cause)) => {
                tracing::warn!(%cause, "cannot accept");
                continue;
            }
            None => return,
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            tracing::warn!("{CONNECTIONS_MAX} connections are the most: one is closed");
            continue;
        };
        let (services, drain) = (services.clone(), drain.clone());
        tokio::spawn(async move {
            connection(stream, services, drain).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TlsStream, services: Services, mut drain: DrainWatch) {
    let peer = Peer(stream.peer().map(|peer| peer.identity.clone()));
    let asked = Arc::new(AtomicBool::new(false));
    let asking = Arc::clone(&asked);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        asking.store(true, Ordering::Relaxed);
        let (services, peer) = (services.clone(), peer.clone());
        async move { Ok::<_, Infallible>(answer(services, peer, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(STREAMS_MAX);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Until the first request nobody has proven anything: who only connects must not hold a place.
    let silent = async {
        tokio::time::sleep(HEAD_TIMEOUT).await;
        if asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = silent => {
            tracing::debug!("a connection that asked for nothing is closed");
            return;
        }
        () = drain.draining() => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                ended = served.as_mut() => ended,
                () = drain.closing() => return,
            }
        }
    };
    if let Err(cause) = ended {
        tracing::debug!(%cause, "a connection broke");
    }
}

async fn answer(mut services: Services, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() == BUNDLE_PATH {
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "GET alone\n");
        }
        return match (services.bundle)(&peer, request.uri().query().unwrap_or_default()) {
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "there is no bundle now\n"),
            Some(bundle) => {
                let mut response = Response::new(Body::new(Full::new(bundle)));
                let json = header::HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
        };
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    match services.grpc.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(text.as_bytes()))));
    *response.status_mut() = status;
    response
}
