//! Opens tunnels, and streams in them. Which tunnel a stream is opened in is for [`crate::pool`] to say.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Method, Request, StatusCode, Uri, uri};
use tokio_rustls::client::TlsStream;

use crate::{
    credential::{
        Credential, Expected, VerifiedPeer,
        handshake::{self, HandshakeError},
    },
    dial::DialError,
    hbone::{
        ConnectRequest, Limits, ResponseHead, STREAMS_MAX,
        carrier::{Load, Slot, TunnelReader, TunnelWriter, to_io},
        head::DENIED,
        keepalive::Keepalive,
    },
    socket::Address,
    stream::Stream,
};

/// Longest `x-strait-denied` that is kept, in bytes.
const DENIED_BYTES_MAX: usize = 512;

/// An open tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    sender: SendRequest<Bytes>,
    load: Arc<Load>,
    path: Vec<Arc<VerifiedPeer>>,
    ends: SystemTime,
}

/// What moves a tunnel's bytes; it is done when the tunnel has ended.
#[derive(Debug)]
pub(crate) struct Driver {
    connection: Connection<TlsStream<Stream>, Bytes>,
    keepalive: Option<Keepalive>,
    load: Arc<Load>,
    streams_seen_max: u32,
    limits: Limits,
}

/// Why a stream was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The tunnel takes no more streams; another may.
    Gone(io::Error),
    /// The tunnel goes on, but did not take this stream, and has done nothing for it.
    Busy(io::Error),
    /// The other end took the stream and cut it without an answer.
    Reset(io::Error),
    /// The other end said no.
    Refused { status: StatusCode, denied: Option<String> },
}

/// Makes a tunnel of a connection to `address`, if one of those expected is there.
pub(crate) async fn establish(
    stream: Stream,
    address: &Address,
    expected: &Expected,
    credential: &Credential,
    limits: &Limits,
) -> Result<(Tunnel, Driver), DialError> {
    let mut path = stream.path().to_vec();
    let failed = |cause: io::Error| DialError::Handshake { address: address.clone(), cause: Arc::new(cause) };
    let proven = handshake::connect(stream, &credential.client).await.map_err(|error| match error {
        HandshakeError::Peer(cause) => DialError::Unproven { address: address.clone(), cause },
        HandshakeError::Tls(cause) => failed(cause),
        HandshakeError::Protocol => failed(io::Error::other("the peer does not speak HTTP/2")),
    })?;
    let (tls, peer) =
        proven.only(expected).map_err(|cause| DialError::WrongPeer { address: address.clone(), cause })?;
    let ends = peer.not_after.min(credential.own().not_after);
    path.push(Arc::new(peer));
    let (sender, mut connection) = h2::client::Builder::new()
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_frame_size(limits.frame_bytes)
        .max_header_list_size(limits.header_bytes)
        .max_send_buffer_size(limits.send_buffer)
        .enable_push(false)
        .initial_max_send_streams(0)
        .handshake(tls)
        .await
        .map_err(|error| failed(to_io(error)))?;
    // The peer's SETTINGS say how many streams it takes, and only after them do we know that it accepted our
    // certificate: in TLS 1.3 our side of the handshake ends before it has looked.
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(failed(io::ErrorKind::UnexpectedEof.into()))),
        Poll::Ready(Err(error)) => Poll::Ready(Err(failed(to_io(error)))),
        Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let keepalive =
        connection.ping_pong().map(|pings| Keepalive::new(pings, limits.ping_interval, limits.ping_timeout));
    let load = Arc::new(Load::default());
    let driver =
        Driver { connection, keepalive, load: load.clone(), streams_seen_max: 0, limits: limits.clone() };
    Ok((Tunnel { sender, load, path, ends }, driver))
}

impl Tunnel {
    /// How many streams it carries.
    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Most streams that the other end takes now.
    pub(crate) fn streams_max(&self) -> usize {
        self.sender.current_max_send_streams().min(STREAMS_MAX as usize)
    }

    /// When the first of the two certificates ends.
    pub(crate) fn ends(&self) -> SystemTime {
        self.ends
    }

    /// Whom it leads to, the nearest first.
    pub(crate) fn path(&self) -> &[Arc<VerifiedPeer>] {
        &self.path
    }

    /// Opens a stream. Dropped before it is ready, it takes the request back.
    pub(crate) async fn open(&self, slot: Slot, request: &ConnectRequest) -> Result<Stream, OpenError> {
        let gone = |error: h2::Error| OpenError::Gone(to_io(error));
        let mut sender = self.sender.clone().ready().await.map_err(gone)?;
        let (response, writer) = sender.send_request(head(request)?, false).map_err(gone)?;
        let (parts, reader) = response.await.map_err(unanswered)?.into_parts();
        if parts.status != StatusCode::OK {
            return Err(OpenError::Refused { status: parts.status, denied: denied(&parts.headers) });
        }
        let answer = ResponseHead::read(&parts.headers);
        let reader = TunnelReader::new(reader, slot.clone());
        Ok(Stream::of_tunnel(reader, TunnelWriter::new(writer, slot), self.path.clone(), Some(answer)))
    }
}

fn unanswered(error: h2::Error) -> OpenError {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) if error.is_reset() => OpenError::Busy(to_io(error)),
        _ if error.is_reset() => OpenError::Reset(to_io(error)),
        _ => OpenError::Gone(to_io(error)),
    }
}

fn head(request: &ConnectRequest) -> Result<Request<()>, OpenError> {
    let unsayable = |error: http::Error| OpenError::Reset(io::Error::new(io::ErrorKind::InvalidInput, error));
    let authority: uri::Authority =
        request.authority.to_string().parse().map_err(|error: uri::InvalidUri| unsayable(error.into()))?;
    let mut head = Request::new(());
    *head.method_mut() = Method::CONNECT;
    let mut parts = uri::Parts::default();
    parts.authority = Some(authority);
    *head.uri_mut() = Uri::from_parts(parts).map_err(|error| unsayable(error.into()))?;
    request.write(head.headers_mut());
    Ok(head)
}

fn denied(fields: &HeaderMap) -> Option<String> {
    let text = fields.get(DENIED)?.to_str().ok()?;
    Some(text.chars().take(DENIED_BYTES_MAX).collect())
}

impl Future for Driver {
    type Output = Result<(), io::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let streams = u32::try_from(this.load.streams()).unwrap_or(STREAMS_MAX).min(STREAMS_MAX);
        if streams > this.streams_seen_max {
            this.streams_seen_max = streams;
            this.connection.set_target_window_size(this.limits.connection_target(streams));
        }
        if this.keepalive.as_mut().is_some_and(|keepalive| keepalive.poll_silent(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut this.connection).poll(cx).map_err(to_io)
    }
}
