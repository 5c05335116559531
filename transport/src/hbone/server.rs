//! Terminates tunnels: proves the peer, then yields its CONNECT requests one by one.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::{
    Reason, RecvStream,
    server::{Connection, SendResponse},
};
use http::{Method, Request};
use tokio::{sync::mpsc, time::timeout};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::{
    credential::{
        Credential, PeerError, VerifiedPeer,
        handshake::{self, HandshakeError},
    },
    hbone::{
        ConnectHead, Limits, STREAMS_MAX,
        carrier::{Load, to_io},
        connect::{Connect, RefusalStatus, answer},
        keepalive::Keepalive,
    },
    stream::Stream,
};

/// Why an arriving connection did not become a tunnel.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AcceptError {
    /// The peer proved nothing.
    #[error("the peer is not accepted: {0}")]
    Peer(#[source] PeerError),
    /// TLS failed: not TLS at all, or an old version.
    #[error("TLS failed: {0}")]
    Tls(#[source] Arc<io::Error>),
    /// No protocol in common: the peer does not speak HTTP/2.
    #[error("the peer does not speak HTTP/2")]
    Protocol,
    /// It did not get that far in time.
    #[error("the peer did not finish its handshake in time")]
    Slow,
}

/// A tunnel that arrived and whose peer is proven. Dropping it cuts it.
#[derive(Debug)]
pub struct Terminated {
    requests: mpsc::Receiver<Connect>,
    peer: Arc<VerifiedPeer>,
    address: Option<SocketAddr>,
    handle: TunnelHandle,
    load: Arc<Load>,
}

/// Moves a tunnel's bytes and takes its requests.
#[derive(Debug)]
struct Driver {
    connection: Connection<TlsStream<Stream>, Bytes>,
    keepalive: Option<Keepalive>,
    peer: Arc<VerifiedPeer>,
    path: Vec<Arc<VerifiedPeer>>,
    handle: TunnelHandle,
    load: Arc<Load>,
    streams_seen_max: u32,
    limits: Limits,
    ends: SystemTime,
    draining: bool,
    flooded: bool,
}

/// Steers a tunnel from elsewhere, while its owner waits in [`Terminated::next`].
#[derive(Debug, Clone)]
pub struct TunnelHandle(Arc<Control>);

#[derive(Debug, Default)]
struct Control {
    drain: AtomicBool,
    refuse: AtomicBool,
    cut: AtomicBool,
    resets: AtomicU32,
    waker: AtomicWaker,
    ended: CancellationToken,
}

/// Makes a tunnel of a connection: TLS in the credential's name, the peer's proof, HTTP/2. The connection may itself
/// be a stream of another tunnel.
///
/// # Errors
/// When the other end is no peer that its trust domain's bundle proves, or does not speak HBONE.
pub async fn accept(
    connection: impl Into<Stream>,
    credential: &Credential,
    limits: &Limits,
) -> Result<Terminated, AcceptError> {
    timeout(limits.handshake_timeout, shake_hands(connection.into(), credential, limits))
        .await
        .map_err(|_| AcceptError::Slow)?
}

async fn shake_hands(
    stream: Stream,
    credential: &Credential,
    limits: &Limits,
) -> Result<Terminated, AcceptError> {
    let address = stream.peer_address();
    let mut path = stream.path().to_vec();
    let (tls, peer) = handshake::accept(stream, &credential.server).await?.anyone();
    let peer = Arc::new(peer);
    path.push(peer.clone());
    let mut connection = h2::server::Builder::new()
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(limits.frame_bytes)
        .max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.streams.min(STREAMS_MAX))
        .max_send_buffer_size(limits.send_buffer)
        .max_pending_accept_reset_streams(limits.resets_pending)
        .handshake(tls)
        .await
        .map_err(|error: h2::Error| match error.is_io() {
            true => AcceptError::Tls(Arc::new(to_io(error))),
            false => AcceptError::Protocol,
        })?;
    let keepalive =
        connection.ping_pong().map(|pings| Keepalive::new(pings, limits.ping_interval, limits.ping_timeout));
    let ends = credential.own().not_after.min(peer.not_after);
    let (handle, load) = (TunnelHandle(Arc::default()), Arc::new(Load::default()));
    let driver = Driver {
        connection,
        keepalive,
        peer: peer.clone(),
        path,
        handle: handle.clone(),
        load: load.clone(),
        streams_seen_max: 0,
        limits: limits.clone(),
        ends,
        draining: false,
        flooded: false,
    };
    let (sender, requests) = mpsc::channel(limits.streams.clamp(1, STREAMS_MAX) as usize);
    tokio::spawn(driver.run(sender));
    Ok(Terminated { requests, peer, address, handle, load })
}

impl From<HandshakeError> for AcceptError {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Peer(cause) => Self::Peer(cause),
            HandshakeError::Tls(cause) => Self::Tls(Arc::new(cause)),
            HandshakeError::Protocol => Self::Protocol,
        }
    }
}

impl Terminated {
    /// Who is at the other end.
    pub fn peer(&self) -> &Arc<VerifiedPeer> {
        &self.peer
    }

    /// From where the connection came.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Streams that are open, or asked for and not answered.
    pub fn streams(&self) -> usize {
        self.load.streams()
    }

    /// The tunnel's next request; `None` when it has ended. Requests that are not CONNECT or name no authority were
    /// answered already. The bytes of open streams move whether this is awaited or not.
    pub async fn next(&mut self) -> Option<Connect> {
        self.requests.recv().await
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

impl Driver {
    async fn run(mut self, requests: mpsc::Sender<Connect>) {
        while let Some(connect) = poll_fn(|cx| self.poll_next(cx)).await {
            // There is room for as many as may be open; who resets and asks again, faster than they are taken, is
            // refused. When nobody takes them any more the tunnel was cut.
            if let Err(mpsc::error::TrySendError::Full(connect)) = requests.try_send(connect) {
                connect.refuse(RefusalStatus::Unavailable, None);
            }
        }
        self.handle.0.ended.cancel();
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Connect>> {
        self.handle.0.waker.register(cx.waker());
        if self.handle.0.cut.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        if self.handle.0.resets.load(Ordering::Acquire) > self.limits.resets_unanswered {
            self.calm();
        }
        if self.handle.0.drain.load(Ordering::Acquire) {
            self.go_away();
        }
        if self.keepalive.as_mut().is_some_and(|keepalive| keepalive.poll_silent(cx).is_ready()) {
            tracing::debug!(peer = %self.peer.identity, "the peer of a tunnel is silent");
            return Poll::Ready(None);
        }
        loop {
            let Some(arrival) = std::task::ready!(self.connection.poll_accept(cx)) else {
                return Poll::Ready(None);
            };
            match arrival {
                Ok((request, respond)) => {
                    if let Some(connect) = self.admit(request, respond) {
                        return Poll::Ready(Some(connect));
                    }
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer.identity, %error, "a tunnel broke");
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// Answers what is no request for a stream.
    fn admit(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Option<Connect> {
        let slot = self.load.enter();
        self.widen();
        let authority = match request.uri().authority() {
            Some(authority) if request.method() == Method::CONNECT => authority.as_str().parse().ok(),
            _ => None,
        };
        let (parts, frames) = request.into_parts();
        let open = Some((respond, frames, slot));
        let control = self.handle.clone();
        let Some(authority) = authority else {
            answer(open, &control, RefusalStatus::BadRequest.into(), None);
            return None;
        };
        let ended = (self.limits.now)() >= self.ends;
        if ended {
            self.go_away();
        }
        if ended || self.handle.0.refuse.load(Ordering::Acquire) {
            answer(open, &control, RefusalStatus::Unavailable.into(), None);
            return None;
        }
        Some(Connect {
            authority,
            head: ConnectHead::read(&parts.headers),
            path: self.path.clone(),
            open,
            control,
        })
    }

    /// Every stream may hold its whole window unread; the connection's window is what is left for the others.
    fn widen(&mut self) {
        let streams = u32::try_from(self.load.streams()).unwrap_or(STREAMS_MAX).min(STREAMS_MAX);
        if streams > self.streams_seen_max {
            self.streams_seen_max = streams;
            self.connection.set_target_window_size(self.limits.connection_target(streams));
        }
    }

    /// Ends a tunnel whose peer asks for streams only to reset them.
    fn calm(&mut self) {
        if !self.flooded {
            self.flooded = true;
            tracing::debug!(peer = %self.peer.identity, "a flood of resets ends a tunnel");
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
    }

    fn go_away(&mut self) {
        if !self.draining {
            self.draining = true;
            self.connection.graceful_shutdown();
        }
    }
}

impl Drop for Terminated {
    fn drop(&mut self) {
        self.handle.cut();
    }
}

impl TunnelHandle {
    /// Sends GOAWAY: the peer opens no more streams, those that are open go on to their end.
    pub fn drain(&self) {
        self.0.drain.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// From now on every new stream is refused with 503 as well, for peers that do not heed a GOAWAY.
    pub fn refuse_new_streams(&self) {
        self.0.refuse.store(true, Ordering::Release);
    }

    /// Ends the tunnel and all its streams now.
    pub fn cut(&self) {
        self.0.cut.store(true, Ordering::Release);
        self.0.waker.wake();
    }

    /// Waits until the tunnel has ended.
    pub async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    /// True when the tunnel has ended.
    pub fn has_ended(&self) -> bool {
        self.0.ended.is_cancelled()
    }

    /// Counts a stream that the peer reset before we answered.
    pub(super) fn unanswered(&self) {
        self.0.resets.fetch_add(1, Ordering::AcqRel);
        self.0.waker.wake();
    }

    /// Counts one that it let live.
    pub(super) fn answered(&self) {
        let less = |count: u32| Some(count.saturating_sub(1));
        // It cannot fail: `less` always gives a value.
        let _ = self.0.resets.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}
