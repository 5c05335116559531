//! Serves HTTP/1.1 for the demo's applications, and tells who called.

use std::{convert::Infallible, future::Future, io, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use transport::{Address, Listener};

/// The largest request body that an application of the demo reads, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Where an application listens: `unix:/path` or `127.0.0.1:9001`.
#[derive(Debug, Clone)]
pub(crate) struct ListenAt(pub(crate) Address);

impl FromStr for ListenAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self(Address::Unix(PathBuf::from(path))));
        }
        let address: SocketAddr =
            text.parse().map_err(|_| format!("{text:?} is neither unix:PATH nor IP:PORT"))?;
        Ok(Self(Address::Tcp(address)))
    }
}

/// What an application answers with.
pub(crate) type Answer = Response<BoxBody<Bytes, Infallible>>;

/// An answer with a whole body.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// Accepts connections for ever and serves each request with its whole body.
pub(crate) async fn serve<F>(
    at: &Address,
    handle: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static,
) -> io::Result<()>
where
    F: Future<Output = Answer> + Send + 'static,
{
    let listener = Listener::bind(at)?;
    let handle = Arc::new(handle);
    loop {
        let socket = listener.accept().await?;
        let handle = handle.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let handle = handle.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let answer = match Limited::new(body, BODY_BYTES_MAX).collect().await {
                        Ok(body) => handle(Request::from_parts(head, body.to_bytes())).await,
                        Err(_) => answer(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "too large\n"),
                    };
                    Ok::<_, Infallible>(answer)
                }
            });
            // A caller that leaves in the middle is no fault of the application.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// The SPIFFE identity of the caller, from the header that only the mesh can set.
pub(crate) fn caller(headers: &HeaderMap) -> String {
    headers
        .get("x-forwarded-client-cert")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').find_map(|part| part.strip_prefix("URI=")))
        .unwrap_or("unknown")
        .to_owned()
}
