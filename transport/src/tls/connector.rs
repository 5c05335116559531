//! The client side: a connector for gRPC channels and HTTP clients.

use std::{
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use mesh::TrustDomain;

use crate::{
    credential::{BuildError, Bundles, Credential, Expected},
    dial::DialError,
    tls::{Alpn, TlsStream},
};

/// Why a server is believed.
#[derive(Debug, Clone)]
pub enum ServerTrust {
    /// It is one of these identities, proven by its trust domain's bundle.
    Identity {
        /// Who it must be.
        expected: Expected,
        /// Whom to believe.
        bundles: Arc<Bundles>,
    },
    /// It is of this trust domain, proven by the root with this key, which the server sends along. Only to fetch a
    /// bundle for the first time.
    Pin {
        /// The root's key.
        pin: SpkiPin,
        /// Whose root it is.
        trust_domain: TrustDomain,
    },
}

/// The SHA-256 of a certificate's public key (SubjectPublicKeyInfo), written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpkiPin(pub [u8; 32]);

/// Why a text is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not sha256: and 64 hexadecimal digits")]
pub struct PinError(pub String);

/// How to connect.
#[derive(Debug, Clone)]
pub struct ConnectorConfig {
    /// Why the server is believed.
    pub trust: ServerTrust,
    /// Our own certificate, if we show one.
    pub credential: Option<Arc<Credential>>,
    /// Which HTTP versions are offered.
    pub alpn: Alpn,
    /// Time for connecting and TLS.
    pub timeout: Duration,
}

/// Opens TLS connections to the host and port of a URI, whatever its scheme says.
#[derive(Debug, Clone)]
pub struct Connector {}

impl Connector {
    /// Prepares the TLS configuration.
    ///
    /// # Errors
    /// When a root cannot be read.
    pub fn new(config: ConnectorConfig) -> Result<Self, BuildError> {
        let _ = config;
        todo!()
    }
}

impl tower::Service<http::Uri> for Connector {
    type Response = TokioIo<TlsStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let _ = uri;
        todo!()
    }
}

impl FromStr for SpkiPin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let _ = text;
        todo!()
    }
}
