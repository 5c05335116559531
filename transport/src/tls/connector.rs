//! The client side: a connector for gRPC channels and HTTP clients.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use hyper_util::rt::TokioIo;
use mesh::TrustDomain;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use crate::{
    credential::{
        BuildError, Bundles, Credential, Expected, client_config,
        handshake::{self, HandshakeError},
        read_public_key,
        verify::{PinnedVerifier, Roots, Verifier},
    },
    dial::{DialError, Target, dial, resolve},
    socket::Address,
    tls::{Alpn, TlsStream},
};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

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
pub struct Connector {
    config: Arc<ClientConfig>,
    /// `None` when the verifier's word is all there is.
    expected: Option<Expected>,
    timeout: Duration,
}

impl Connector {
    /// Prepares the TLS configuration.
    ///
    /// # Errors
    /// When a root cannot be read.
    pub fn new(config: ConnectorConfig) -> Result<Self, BuildError> {
        let key = config.credential.map(|credential| credential.key.clone());
        let (tls, expected) = match config.trust {
            ServerTrust::Identity { expected, bundles } => {
                let verifier = Verifier { roots: Arc::new(Roots::new(&bundles)?), anonymous: false };
                (client_config(Arc::new(verifier), key, config.alpn.names()), Some(expected))
            }
            ServerTrust::Pin { pin, trust_domain } => {
                let is_pinned = move |der: &[u8]| SpkiPin::of(der).is_some_and(|found| found == pin);
                let verifier = PinnedVerifier::new(trust_domain, Box::new(is_pinned));
                (client_config(Arc::new(verifier), key, config.alpn.names()), None)
            }
        };
        Ok(Self { config: Arc::new(tls), expected, timeout: config.timeout })
    }

    /// Connects to the first of a name's addresses that answers.
    ///
    /// # Errors
    /// When nobody answers, or who answers is not believed.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TlsStream, DialError> {
        let deadline = Instant::now() + self.timeout;
        let found = resolve(host, port, self.timeout).await?;
        let mut failed =
            DialError::Unresolved { host: host.to_owned(), cause: Arc::new(io::ErrorKind::NotFound.into()) };
        for address in found.into_iter().take(ADDRESSES_MAX) {
            match self.connect_to(address, deadline).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn connect_to(&self, to: SocketAddr, deadline: Instant) -> Result<TlsStream, DialError> {
        let address = Address::Tcp(to);
        let timeout = deadline.saturating_duration_since(Instant::now());
        let socket = dial(&Target { address: address.clone(), from: None, timeout }).await?;
        let handshake = timeout_at(deadline, handshake::connect(socket, &self.config)).await;
        let failed =
            |cause: io::Error| DialError::Handshake { address: address.clone(), cause: Arc::new(cause) };
        let proven = match handshake {
            Ok(Ok(proven)) => proven,
            Ok(Err(HandshakeError::Peer(cause))) => return Err(DialError::Unproven { address, cause }),
            Ok(Err(HandshakeError::Tls(cause))) => return Err(failed(cause)),
            Ok(Err(HandshakeError::Protocol)) => {
                return Err(failed(io::Error::other("no HTTP version in common")));
            }
            Err(_) => return Err(DialError::Silent { address, waited: self.timeout }),
        };
        let (io, peer) = match &self.expected {
            Some(expected) => {
                proven.only(expected).map_err(|cause| DialError::WrongPeer { address, cause })?
            }
            None => proven.anyone(),
        };
        Ok(TlsStream::new(io.into(), Some(Arc::new(peer)), Some(to)))
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
        let this = self.clone();
        Box::pin(async move {
            // A URI writes an IPv6 address in brackets, a resolver does not know them.
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let port = uri.port_u16().unwrap_or(PORT_DEFAULT);
            Ok(TokioIo::new(this.connect(host, port).await?))
        })
    }
}

/// The port of a URI that names none.
const PORT_DEFAULT: u16 = 443;

impl SpkiPin {
    /// The pin of a certificate (DER), if it can be read.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let key = read_public_key(certificate).ok()?;
        digest(&SHA256, &key).as_ref().try_into().ok().map(Self)
    }
}

impl FromStr for SpkiPin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let digits = text.strip_prefix("sha256:")?;
            if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            let mut pin = [0; 32];
            for (index, byte) in pin.iter_mut().enumerate() {
                *byte = u8::from_str_radix(digits.get(index * 2..index * 2 + 2)?, 16).ok()?;
            }
            Some(Self(pin))
        };
        read().ok_or_else(|| PinError(text.to_owned()))
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_pin_reads_back(bytes: [u8; 32]) {
            let pin = SpkiPin(bytes);
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = text.parse::<SpkiPin>();
        }
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        let digits = "a".repeat(64);
        assert!(format!("sha256:{digits}").parse::<SpkiPin>().is_ok());
        for bad in [
            String::new(),
            digits.clone(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}a"),
            format!("sha1:{digits}"),
            format!("sha256:{}", "+a".repeat(32)),
        ] {
            assert!(bad.parse::<SpkiPin>().is_err(), "{bad:?} was accepted");
        }
    }
}
