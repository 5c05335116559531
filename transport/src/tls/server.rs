//! The server side.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    credential::{Credential, VerifiedPeer},
    hbone::AcceptError,
    listener::Listener,
    socket::Socket,
    tls::Alpn,
};

/// Whether clients prove themselves by certificate. One that is shown is always verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    None,
    /// They may.
    Optional,
    /// They must.
    Required,
}

/// A server's TLS, ready for handshakes.
#[derive(Debug, Clone)]
pub struct ServerTls {}

/// An accepted TLS connection.
#[derive(Debug)]
pub struct TlsStream {}

impl ServerTls {
    /// Serves in the credential's name.
    pub fn new(credential: &Credential, clients: ClientCertificates, alpn: Alpn) -> Self {
        let _ = (credential, clients, alpn);
        todo!()
    }
}

impl TlsStream {
    /// The client, if it showed a certificate.
    pub fn peer(&self) -> Option<&Arc<VerifiedPeer>> {
        todo!()
    }

    /// From where it came.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// True if HTTP/2 was agreed.
    pub fn is_h2(&self) -> bool {
        todo!()
    }
}

/// Makes a TLS connection of an accepted one.
///
/// # Errors
/// When the client does not speak TLS 1.3 and a common protocol, proves nothing that it had to, or is too slow.
pub async fn accept_tls(
    socket: Socket,
    tls: &ServerTls,
    timeout: Duration,
) -> Result<TlsStream, AcceptError> {
    let _ = (socket, tls, timeout);
    todo!()
}

/// Accepts and shakes hands for as long as the stream is polled, many at once up to `handshakes_max`. Failed
/// handshakes are logged and passed over. `tls` is asked at each connection, so that a renewed certificate is used.
pub fn incoming(
    listener: Listener,
    tls: impl Fn() -> ServerTls + Send + Sync + 'static,
    handshakes_max: usize,
    timeout: Duration,
) -> impl futures_util::Stream<Item = io::Result<TlsStream>> + Send {
    let _ = (listener, tls, handshakes_max, timeout);
    futures_util::stream::empty()
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        todo!()
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}
