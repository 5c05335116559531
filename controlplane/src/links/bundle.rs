//! Fetches the bundle of another trust domain over HTTPS.

use std::{sync::Arc, time::Duration};

use authority::{Bundle, bundle::BUNDLE_BYTES_MAX};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mesh::TrustDomain;
use transport::{
    Credential,
    tls::{Alpn, Connector, ConnectorConfig, ServerTrust},
};

/// Time for one fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The soonest and the latest that a bundle is fetched again.
pub(super) const REFRESH_LEAST: Duration = Duration::from_secs(10);
/// The latest.
pub(super) const REFRESH_MOST: Duration = Duration::from_secs(24 * 3600);
/// In the query: the sequence of the bundle that all proxies of who asks hold.
pub(super) const APPLIED: &str = "applied=";
/// The port of a URL that names none.
const HTTPS: u16 = 443;

/// Who asks, and which bundle all its proxies hold.
pub(super) struct Teller {
    pub(super) credential: Arc<Credential>,
    pub(super) applied: u64,
}

/// Fetches and reads it.
pub(super) async fn fetch(
    endpoint: &Uri,
    trust: ServerTrust,
    teller: Option<Teller>,
    trust_domain: &TrustDomain,
) -> Result<Bundle, String> {
    tokio::time::timeout(FETCH_TIMEOUT, get(endpoint, trust, teller, trust_domain))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {FETCH_TIMEOUT:?}")))
}

async fn get(
    endpoint: &Uri,
    trust: ServerTrust,
    teller: Option<Teller>,
    trust_domain: &TrustDomain,
) -> Result<Bundle, String> {
    let path = match &teller {
        Some(teller) => format!("{}?{APPLIED}{}", endpoint.path(), teller.applied),
        None => endpoint.path().to_owned(),
    };
    let text = |error: &dyn std::error::Error| chain(error);
    let connector = Connector::new(ConnectorConfig {
        trust,
        credential: teller.map(|teller| teller.credential),
        alpn: Alpn::Http1,
        timeout: FETCH_TIMEOUT,
    })
    .map_err(|error| text(&error))?;
    let host = endpoint.host().ok_or("the endpoint names no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = endpoint.port_u16().unwrap_or(HTTPS);
    let stream = connector.connect(bare, port).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let request = Request::get(path)
        .header(header::HOST, format!("{host}:{port}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), BUNDLE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Bundle::parse(&body, trust_domain).map_err(|error| text(&error))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        bundle = exchange.as_mut() => bundle,
        ended = connection => match ended {
            // It closed behind its answer, which is still to be read.
            Ok(()) => exchange.await,
            Err(error) => Err(text(&error)),
        },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
