//! Terminates tunnels: proves the peer, then yields its CONNECT requests one by one.

use std::{io, net::SocketAddr, sync::Arc};

use crate::{
    credential::{Credential, PeerError, VerifiedPeer},
    hbone::{Authority, ConnectHead, Limits, ResponseHead},
    socket::Socket,
    stream::Stream,
};

/// Why an arriving connection did not become a tunnel.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcceptError {
    /// The peer proved nothing.
    #[error("the peer is not accepted")]
    Peer(#[source] PeerError),
    /// TLS failed: not TLS at all, an old version, no common protocol.
    #[error("TLS failed")]
    Tls(#[source] Arc<io::Error>),
    /// The peer does not speak HTTP/2.
    #[error("the peer does not speak HTTP/2")]
    NotH2,
    /// It did not get that far in time.
    #[error("the peer did not finish its handshake in time")]
    Slow,
}

/// A tunnel that arrived and whose peer is proven. Dropping it cuts it.
#[derive(Debug)]
pub struct Terminated {
    peer: Arc<VerifiedPeer>,
    handle: TunnelHandle,
}

/// Steers a tunnel from elsewhere, while its owner waits in [`Terminated::next`].
#[derive(Debug, Clone)]
pub struct TunnelHandle {}

/// A request to open a stream. Dropping it unanswered refuses it.
#[derive(Debug)]
pub struct Connect {
    /// Where it wants to go.
    pub authority: Authority,
    /// What else it says.
    pub head: ConnectHead,
    peer: Arc<VerifiedPeer>,
}

/// With what a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalStatus {
    /// 400: the request is not understood or not for this listener.
    BadRequest,
    /// 401: policy.
    Denied,
    /// 503: nobody to serve it.
    Unavailable,
}

/// Makes a tunnel of a connection: TLS in the credential's name, the peer's proof, HTTP/2.
///
/// # Errors
/// When the other end is no peer that its trust domain's bundle proves, or does not speak HBONE.
pub async fn accept(
    socket: Socket,
    credential: &Credential,
    limits: &Limits,
) -> Result<Terminated, AcceptError> {
    let _ = (socket, credential, limits);
    todo!()
}

impl Terminated {
    /// Who is at the other end.
    pub fn peer(&self) -> &Arc<VerifiedPeer> {
        &self.peer
    }

    /// From where the connection came.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        todo!()
    }

    /// Drives the tunnel and yields its next request; `None` when it has ended. It must be polled as long as streams
    /// of it are in use: nothing else moves their bytes. Requests that are not CONNECT or name no authority are
    /// answered here. May be dropped and called again.
    pub async fn next(&mut self) -> Option<Connect> {
        todo!()
    }

    /// Steers the tunnel from elsewhere.
    pub fn handle(&self) -> TunnelHandle {
        self.handle.clone()
    }

    /// As [`TunnelHandle::drain`].
    pub fn drain(&self) {
        self.handle.drain();
    }

    /// As [`TunnelHandle::refuse_new_streams`].
    pub fn refuse_new_streams(&self) {
        self.handle.refuse_new_streams();
    }
}

impl TunnelHandle {
    /// Sends GOAWAY: the peer opens no more streams, those that are open go on to their end.
    pub fn drain(&self) {
        todo!()
    }

    /// From now on every new stream is refused with 503 as well, for peers that do not heed a GOAWAY.
    pub fn refuse_new_streams(&self) {
        todo!()
    }

    /// Ends the tunnel and all its streams now.
    pub fn cut(&self) {
        todo!()
    }

    /// Waits until the tunnel has ended.
    pub async fn ended(&self) {
        todo!()
    }
}

impl Connect {
    /// Who asks.
    pub fn peer(&self) -> &Arc<VerifiedPeer> {
        &self.peer
    }

    /// Answers 200 and opens the stream.
    ///
    /// # Errors
    /// When the peer has gone meanwhile.
    pub fn accept(self, head: ResponseHead) -> io::Result<Stream> {
        let _ = head;
        todo!()
    }

    /// Answers with a refusal; `denied` becomes `x-strait-denied`.
    pub fn refuse(self, status: RefusalStatus, denied: Option<&str>) {
        let _ = (status, denied);
        todo!()
    }
}
