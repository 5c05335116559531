//! A client outside the mesh: it knows a name, an address and an authority that it believes, and speaks HTTPS.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use transport::tls::{Alpn, OutsideTls, connect_outside};

/// How long a connection, and then an answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The client.
pub(crate) struct Visitor {
    host: &'static str,
    at: SocketAddr,
    believes: OutsideTls,
}

/// What it was answered.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// JSON, or else the text.
    pub(crate) body: Value,
}

impl Answered {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The id and the reason of a refusal (`id=…; reason=…`), or nothing.
    pub(crate) fn denied(&self) -> (&str, &str) {
        let field = |name: &str| {
            let fields = self.header("x-strait-denied").split(';').map(str::trim);
            fields.filter_map(|field| field.split_once('=')).find(|(key, _)| *key == name)
        };
        (field("id").map_or("", |(_, id)| id), field("reason").map_or("", |(_, reason)| reason))
    }
}

impl Visitor {
    /// One who goes to this host at this address, and believes this root (PEM).
    pub(crate) fn new(host: &'static str, at: SocketAddr, root: &str) -> anyhow::Result<Self> {
        Ok(Self { host, at, believes: OutsideTls::with_roots(root)? })
    }

    /// One request, on a connection of its own; with a token, as that person.
    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<Answered> {
        let tls = Some((&self.believes, self.host));
        let connection = connect_outside(&[self.at], tls, Alpn::Http1, PATIENCE).await?;
        let mut request = Request::get(path).header(header::HOST, self.host);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::<Bytes>::default())?;
        let answer = tokio::time::timeout(PATIENCE, async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
            tokio::spawn(connection);
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
            anyhow::Ok((head, body))
        });
        let (head, body) = answer.await.with_context(|| format!("no answer within {PATIENCE:?}"))??;
        let text = String::from_utf8_lossy(&body);
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.trim().to_owned()));
        Ok(Answered { status: head.status.as_u16(), headers: head.headers, body })
    }
}
