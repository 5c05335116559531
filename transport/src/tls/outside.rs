//! Connections to hosts outside the mesh, which are known by name, as on the web.
//!
//! Names are resolved elsewhere: what is dialled is an address that somebody looked at before.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{Alpn, TlsStream};
use crate::{
    credential::provider::for_strangers,
    dial::{DialError, Target, dial},
    socket::{Address, Socket},
};

/// Addresses of one host that are tried.
pub const ADDRESSES_MAX: usize = 4;
/// Most roots that are given for a host.
pub const ROOTS_MAX: usize = 256;

/// Whom a host outside is believed to be: its certificate must name it and lead to one of some roots.
#[derive(Clone)]
pub struct OutsideTls {
    roots: Arc<RootCertStore>,
}

/// Why roots cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The system has none that can be read.
    #[error("the system has no roots: {0}")]
    System(String),
    /// The text is no PEM of certificates.
    #[error("the roots cannot be read: {0}")]
    Unreadable(String),
    /// There are too many.
    #[error("more than {ROOTS_MAX} roots are given")]
    TooMany,
}

impl OutsideTls {
    /// Believes the roots of the system. It reads files: to be asked once.
    ///
    /// # Errors
    /// When the system has none.
    pub fn system() -> Result<Self, RootsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (read, _) = roots.add_parsable_certificates(found.certs);
        if read == 0 {
            let why = found.errors.first().map_or_else(|| "none were found".to_owned(), ToString::to_string);
            return Err(RootsError::System(why));
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    /// Believes these roots, in PEM.
    ///
    /// # Errors
    /// When one of them cannot be read, or there are none.
    pub fn with_roots(pem: &str) -> Result<Self, RootsError> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let root = root.map_err(|error| RootsError::Unreadable(error.to_string()))?;
            if roots.len() >= ROOTS_MAX {
                return Err(RootsError::TooMany);
            }
            roots.add(root).map_err(|error| RootsError::Unreadable(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(RootsError::Unreadable("there are none".to_owned()));
        }
        Ok(Self { roots: Arc::new(roots) })
    }

    fn config(&self, alpn: Alpn) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(for_strangers())
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = alpn.names().iter().map(|name| name.to_vec()).collect();
        // A session that is resumed skips the proof.
        config.resumption = Resumption::disabled();
        config
    }
}

impl fmt::Debug for OutsideTls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("OutsideTls").field("roots", &self.roots.len()).finish()
    }
}

/// A connection to a host outside.
#[derive(Debug)]
pub enum OutsideConnection {
    /// In clear text.
    Plain(Socket),
    /// In TLS with who it should be.
    Tls(Box<TlsStream>),
}

impl OutsideConnection {
    /// True if HTTP/2 was agreed in TLS.
    pub fn is_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_h2(),
        }
    }
}

/// Connects to the first of these addresses where the host is: all share the time.
///
/// # Errors
/// When nobody answers, or who answers is not the host.
pub async fn connect_outside(
    addresses: &[SocketAddr],
    tls: Option<(&OutsideTls, &str)>,
    alpn: Alpn,
    timeout: Duration,
) -> Result<OutsideConnection, DialError> {
    let deadline = Instant::now() + timeout;
    let tls = match tls {
        None => None,
        Some((tls, name)) => {
            let unusable = |_| DialError::Unresolved {
                host: name.to_owned(),
                cause: Arc::new(io::Error::new(io::ErrorKind::InvalidInput, "no certificate can name it")),
            };
            let server = ServerName::try_from(name.to_owned()).map_err(unusable)?;
            Some((TlsConnector::from(Arc::new(tls.config(alpn))), server))
        }
    };
    let tried = &addresses[..addresses.len().min(ADDRESSES_MAX)];
    let mut failed = None;
    for (index, address) in tried.iter().enumerate() {
        // Those that come later have their share of the time.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(tried.len() - index).unwrap_or(1);
        match connect(*address, tls.as_ref(), share).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| DialError::Unresolved {
        host: String::new(),
        cause: Arc::new(io::ErrorKind::NotFound.into()),
    }))
}

async fn connect(
    to: SocketAddr,
    tls: Option<&(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
) -> Result<OutsideConnection, DialError> {
    let address = Address::Tcp(to);
    let deadline = Instant::now() + timeout;
    let socket = dial(&Target { address: address.clone(), from: None, timeout }).await?;
    let Some((connector, name)) = tls else { return Ok(OutsideConnection::Plain(socket)) };
    match timeout_at(deadline, connector.connect(name.clone(), socket)).await {
        Ok(Ok(io)) => Ok(OutsideConnection::Tls(Box::new(TlsStream::new(io.into(), None, Some(to))))),
        Ok(Err(cause)) => Err(DialError::Handshake { address, cause: Arc::new(cause) }),
        Err(_) => Err(DialError::Silent { address, waited: timeout }),
    }
}

impl AsyncRead for OutsideConnection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for OutsideConnection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
