//! Shakes hands, and tells in our words why that failed.

use std::{io, net::Ipv4Addr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, CommonState, ServerConfig,
    pki_types::{IpAddr, ServerName},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::{
    certificate::read_leaf,
    expected::{Expected, WrongPeer},
    peer::{PeerError, VerifiedPeer},
};

/// Why no TLS connection came to be.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The peer proved nothing.
    Peer(PeerError),
    /// Everything else.
    Tls(io::Error),
    /// The peer and we have no protocol in common.
    Protocol,
}

/// A connection to a peer that proved an identity, of which it is not yet known whether it is the right one. Its
/// bytes are out of reach until that was asked.
#[derive(Debug)]
pub(crate) struct Proven<T> {
    io: T,
    peer: VerifiedPeer,
}

impl<T> Proven<T> {
    /// Opens the connection, if the peer is one of those expected.
    pub(crate) fn only(self, expected: &Expected) -> Result<(T, VerifiedPeer), WrongPeer> {
        expected.check(&self.peer)?;
        Ok((self.io, self.peer))
    }

    /// Opens the connection whoever the peer is: the decision comes later, stream by stream.
    pub(crate) fn anyone(self) -> (T, VerifiedPeer) {
        (self.io, self.peer)
    }
}

/// Connects; the peer always proves itself.
pub(crate) async fn connect<T>(
    io: T,
    config: &Arc<ClientConfig>,
) -> Result<Proven<client::TlsStream<T>>, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Not sent, and not compared with anything: the peer is known by its identity, not by a name.
    let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let io = TlsConnector::from(config.clone()).connect(name, io).await.map_err(classify)?;
    let state = io.get_ref().1;
    agreed(state, &config.alpn_protocols)?;
    let peer = proven(state)?.ok_or(HandshakeError::Peer(PeerError::NoCertificate))?;
    Ok(Proven { io, peer })
}

/// Accepts a peer that must prove itself.
pub(crate) async fn accept<T>(
    io: T,
    config: &Arc<ServerConfig>,
) -> Result<Proven<server::TlsStream<T>>, HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (io, peer) = accept_any(io, config).await?;
    let peer = peer.ok_or(HandshakeError::Peer(PeerError::NoCertificate))?;
    Ok(Proven { io, peer })
}

/// Accepts a peer that proves itself only if the configuration demands it.
pub(crate) async fn accept_any<T>(
    io: T,
    config: &Arc<ServerConfig>,
) -> Result<(server::TlsStream<T>, Option<VerifiedPeer>), HandshakeError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let io = TlsAcceptor::from(config.clone()).accept(io).await.map_err(classify)?;
    let state = io.get_ref().1;
    agreed(state, &config.alpn_protocols)?;
    let peer = proven(state)?;
    Ok((io, peer))
}

/// A peer that does not negotiate at all passes rustls, but not us.
fn agreed(state: &CommonState, offered: &[Vec<u8>]) -> Result<(), HandshakeError> {
    match state.alpn_protocol() {
        Some(chosen) if offered.iter().any(|protocol| protocol == chosen) => Ok(()),
        _ => Err(HandshakeError::Protocol),
    }
}

/// What the certificate says that the verifier accepted.
fn proven(state: &CommonState) -> Result<Option<VerifiedPeer>, HandshakeError> {
    let leaf = state.peer_certificates().and_then(|chain| chain.first());
    leaf.map(|leaf| read_leaf(leaf)).transpose().map_err(HandshakeError::Peer)
}

fn classify(error: io::Error) -> HandshakeError {
    use rustls::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            match other.0.downcast_ref::<PeerError>() {
                Some(cause) => HandshakeError::Peer(cause.clone()),
                None => HandshakeError::Tls(error),
            }
        }
        Some(Error::NoCertificatesPresented) => HandshakeError::Peer(PeerError::NoCertificate),
        Some(Error::NoApplicationProtocol) => HandshakeError::Protocol,
        _ => HandshakeError::Tls(error),
    }
}
