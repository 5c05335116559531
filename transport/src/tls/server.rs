//! The server side.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls::{ServerConfig, pki_types::CertificateDer, sign::CertifiedKey};
use tokio::time::timeout as within;

use crate::{
    credential::{CHAIN_CERTIFICATES_MAX, Clients, Credential, handshake::accept_any, server_config},
    hbone::AcceptError,
    listener::Listener,
    socket::Socket,
    tls::{Alpn, TlsStream},
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
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// Serves in the credential's name. The roots of its trust domain are sent along, for clients that know no more
    /// than a root's key yet.
    pub fn new(credential: &Credential, clients: ClientCertificates, alpn: Alpn) -> Self {
        let roots = credential.roots.clone();
        let clients = match clients {
            ClientCertificates::None => Clients::None,
            ClientCertificates::Optional => Clients::Optional(roots),
            ClientCertificates::Required => Clients::Required(roots),
        };
        let mut chain = credential.key.cert.clone();
        let own_roots = credential.bundles().get(credential.identity().trust_domain());
        for root in own_roots.into_iter().flatten() {
            if chain.len() < CHAIN_CERTIFICATES_MAX {
                chain.push(CertificateDer::from(root.clone()));
            }
        }
        let key = Arc::new(CertifiedKey::new(chain, credential.key.key.clone()));
        Self(Arc::new(server_config(clients, key, alpn.names())))
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
    let address = socket.peer_address();
    let (io, peer) = within(timeout, accept_any(socket, &tls.0)).await.map_err(|_| AcceptError::Slow)??;
    Ok(TlsStream::new(io.into(), peer.map(Arc::new), address))
}

/// Accepts and shakes hands for as long as the stream is polled, many at once up to `handshakes_max`. Failed
/// handshakes are logged and passed over. `tls` is asked at each connection, so that a renewed certificate is used.
pub fn incoming(
    listener: Listener,
    tls: impl Fn() -> ServerTls + Send + Sync + 'static,
    handshakes_max: usize,
    timeout: Duration,
) -> impl futures_util::Stream<Item = io::Result<TlsStream>> + Send {
    let state = (listener, tls, FuturesUnordered::new());
    futures_util::stream::unfold(state, move |(listener, tls, mut handshakes)| async move {
        loop {
            let may_accept = handshakes.len() < handshakes_max.max(1);
            tokio::select! {
                Some(done) = handshakes.next(), if !handshakes.is_empty() => match done {
                    Ok(stream) => return Some((Ok(stream), (listener, tls, handshakes))),
                    Err(error) => tracing::debug!(address = %listener.address(), %error, "a handshake failed"),
                },
                accepted = listener.accept(), if may_accept => match accepted {
                    Ok(socket) => {
                        let tls = tls();
                        handshakes.push(async move { accept_tls(socket, &tls, timeout).await });
                    }
                    Err(error) => return Some((Err(error), (listener, tls, handshakes))),
                },
            }
        }
    })
}
