//! The web outside the mesh: an authority for names, and clients that come to the edge.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh::{
    names::ObjectName,
    resource::{Hidden, Secret},
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use transport::{
    DialError,
    tls::{Alpn, OutsideConnection, OutsideTls, connect_outside},
};

use crate::support::{Answer, ClientBody, PATIENCE, body};

/// An authority that vouches for names.
pub(crate) struct WebAuthority {
    pub(crate) root: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
pub(crate) struct WebCertificate {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl WebAuthority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "web root");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        Self { root, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn certificate(&self, names: &[&str]) -> WebCertificate {
        self.ending(names, 2090)
    }

    pub(crate) fn ending(&self, names: &[&str], year: i32) -> WebCertificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        WebCertificate { chain: leaf.pem(), key: key.serialize_pem() }
    }
}

impl WebCertificate {
    pub(crate) fn secret(&self, name: &str) -> Secret {
        let entries = [("tls.crt", &self.chain), ("tls.key", &self.key)];
        Secret {
            name: ObjectName::new("Secret", "shop", name),
            data: entries.map(|(key, text)| (key.into(), Hidden(text.as_str().into()))).into(),
        }
    }
}

/// Somebody outside with one connection to the edge.
pub(crate) enum Visitor {
    Http1(hyper::client::conn::http1::SendRequest<ClientBody>),
    Http2(hyper::client::conn::http2::SendRequest<ClientBody>),
}

impl Visitor {
    /// In clear text.
    pub(crate) async fn plain(to: SocketAddr) -> Result<Self, DialError> {
        let stream = connect_outside(&[to], None, Alpn::Http1, PATIENCE).await?;
        Ok(Self::http1(stream).await)
    }

    /// Over TLS with whom this root vouches for.
    pub(crate) async fn tls(to: SocketAddr, name: &str, root: &str, alpn: Alpn) -> Result<Self, DialError> {
        let roots = OutsideTls::with_roots(root).unwrap();
        let stream = connect_outside(&[to], Some((&roots, name)), alpn, PATIENCE).await?;
        if stream.is_h2() {
            let io = TokioIo::new(stream);
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            return Ok(Self::Http2(sender));
        }
        Ok(Self::http1(stream).await)
    }

    async fn http1(stream: OutsideConnection) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self::Http1(sender)
    }

    /// One GET for a host.
    pub(crate) async fn get(&mut self, host: &str, path: &str) -> Answer {
        self.send(host, path, &[]).await.expect("an answer")
    }

    /// One GET with headers.
    pub(crate) async fn send(
        &mut self,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, hyper::Error> {
        let mut request = match self {
            Self::Http1(_) => http::Request::builder().uri(path).header("host", host),
            Self::Http2(_) => http::Request::builder().uri(format!("https://{host}{path}")),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body("")).unwrap();
        let sent = async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        let response = tokio::time::timeout(PATIENCE, sent).await.expect("in time")?;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("in time")?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            trailers: Default::default(),
        })
    }

    /// Waits until the other end has closed the connection.
    pub(crate) async fn ended(&mut self) {
        let ended = async {
            loop {
                let ready = match self {
                    Self::Http1(sender) => sender.ready().await,
                    Self::Http2(sender) => sender.ready().await,
                };
                if ready.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    }
}
