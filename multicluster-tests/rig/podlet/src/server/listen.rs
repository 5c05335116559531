//! Takes connections and hands their requests on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Body};
use super::route::{self, Ask};
use super::{API_SERVER, Node, attach, exec, forward, logs, tls};

/// The most connections at once; an API server keeps one for each stream and a few for the rest.
pub const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take for the handshake, and for the head of a request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// After how much silence the kernel asks whether the client is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves the API on `listener` until `shutdown`.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    node: Node,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed, so only `shutdown` can end the wait.
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (place, stream) = match accepted {
            (Ok(place), Ok((stream, _))) => (place, stream),
            (_, Err(error)) => {
                tracing::warn!(%error, "cannot accept a connection to the kubelet's API");
                // Mostly for want of descriptors: these come back as connections end.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            (Err(_), _) => return,
        };
        let (acceptor, node, shutdown) = (acceptor.clone(), node.clone(), shutdown.clone());
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connection(stream, acceptor, node, &shutdown) => {}
            }
        });
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, node: Node, shutdown: &CancellationToken) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    // Both only make it better.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a client of the kubelet's API was refused"),
        Err(_) => return tracing::debug!("a client of the kubelet's API did not finish its handshake"),
    };
    let name = stream.get_ref().1.peer_certificates().and_then(|chain| tls::common_name(chain.first()?));
    let service = service_fn(move |request| {
        let (node, name, shutdown) = (node.clone(), name.clone(), shutdown.clone());
        async move { Ok::<_, Infallible>(respond(request, name, node, shutdown).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the kubelet's API broke");
    }
}

async fn respond(
    request: Request<Incoming>,
    client: Option<String>,
    node: Node,
    shutdown: CancellationToken,
) -> Response<Body> {
    if client.as_deref() != Some(API_SERVER) {
        let client = client.unwrap_or_else(|| "a client without a name".to_owned());
        return answer::text(403, format!("{client} may not use the kubelet's API: only {API_SERVER} may\n"));
    }
    let ask = match route::read(request.method(), request.uri()) {
        Ok(ask) => ask,
        Err(error) => return answer::text(error.code(), format!("{error}\n")),
    };
    match ask {
        Ask::Health => answer::text(200, "ok"),
        Ask::Pods => answer::pods(&node.pods),
        Ask::Metrics => answer::metrics(&node.pods),
        Ask::Logs { container, previous, selection } => {
            logs::respond(&node.pods, &container, previous, selection)
        }
        Ask::Exec { container, command, streams } => {
            exec::respond(request, node, &container, command, streams, shutdown)
        }
        Ask::Attach { container, streams } => attach::respond(request, &node, &container, streams, shutdown),
        Ask::Forward { pod } => forward::respond(request, &node, &pod, shutdown),
    }
}
