//! TLS besides tunnels.
//!
//! For the control plane ([`connector`], [`server`]): one-way or mutual, the server always by its SPIFFE identity; the
//! same rules as for tunnels (TLS 1.3, one bundle for each trust domain), but the client may prove itself by a token
//! instead of a certificate. With strangers: those who come in at a gateway ([`edge`]) and hosts outside the mesh
//! ([`outside`]) are known by name, as on the web.

pub mod connector;
pub mod edge;
pub mod outside;
pub mod server;
pub mod server_certificate;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use connector::{Connector, ConnectorConfig, PinError, ServerTrust, SpkiPin};
pub use edge::{EdgeError, EdgeTls, accept_edge};
pub use outside::{OutsideConnection, OutsideTls, RootsError, connect_outside};
pub use server::{ClientCertificates, ServerTls, accept_tls, incoming};
pub use server_certificate::{CertificateError, ServerCertificate};

use crate::{
    credential::{ALPN_H2, ALPN_HTTP1, VerifiedPeer},
    socket::Socket,
};

/// Which HTTP versions are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alpn {
    /// Only HTTP/2, as gRPC needs.
    #[default]
    H2,
    /// HTTP/2 or HTTP/1.1.
    H2OrHttp1,
    /// Only HTTP/1.1.
    Http1,
}

impl Alpn {
    fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::H2 => &[ALPN_H2],
            Self::H2OrHttp1 => &[ALPN_H2, ALPN_HTTP1],
            Self::Http1 => &[ALPN_HTTP1],
        }
    }
}

/// A TLS connection.
#[derive(Debug)]
pub struct TlsStream {
    io: tokio_rustls::TlsStream<Socket>,
    peer: Option<Arc<VerifiedPeer>>,
    address: Option<SocketAddr>,
}

impl TlsStream {
    fn new(
        io: tokio_rustls::TlsStream<Socket>,
        peer: Option<Arc<VerifiedPeer>>,
        address: Option<SocketAddr>,
    ) -> Self {
        Self { io, peer, address }
    }

    /// The other end, if it showed a certificate.
    pub fn peer(&self) -> Option<&Arc<VerifiedPeer>> {
        self.peer.as_ref()
    }

    /// The address of the other end, if it is TCP.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// True if HTTP/2 was agreed.
    pub fn is_h2(&self) -> bool {
        self.io.get_ref().1.alpn_protocol() == Some(ALPN_H2)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
