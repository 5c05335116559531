//! One stream: bytes both ways, each way ended on its own.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use crate::frame::StreamId;
use crate::headers::Headers;
use crate::link::{Link, Outgoing, PeerEnd, Shared};

/// The most bytes of one data frame that we write.
pub const DATA_LENGTH_MAX: usize = 16 * 1024;

/// One stream of a connection.
///
/// *Reading* ends cleanly when the peer has written all, and with an error when it reset the stream
/// (`ConnectionReset`) or the connection was lost before (`ConnectionAborted`). *Shutting down* tells
/// the peer that we have written all and leaves reading as it is. *Dropping* a stream that was not
/// shut down resets it.
#[derive(Debug)]
pub struct Stream {
    id: StreamId,
    headers: Headers,
    link: Arc<Link>,
    shared: Arc<Shared>,
    inbound: mpsc::Receiver<Bytes>,
    /// What was taken from `inbound` and not yet read.
    piece: Bytes,
    outgoing: PollSender<Outgoing>,
    finished: bool,
}

impl Stream {
    pub(crate) fn new(
        id: StreamId,
        headers: Headers,
        link: Arc<Link>,
        shared: Arc<Shared>,
        inbound: mpsc::Receiver<Bytes>,
    ) -> Self {
        let outgoing = PollSender::new(shared.outgoing.clone());
        Self { id, headers, link, shared, inbound, piece: Bytes::new(), outgoing, finished: false }
    }

    /// The stream's number.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// The headers that the stream was opened with.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Waits until the peer has answered the opening of this stream with its headers, or the stream
    /// is gone (`None`). Only for a stream that this side opened.
    pub async fn replied(&self) -> Option<Headers> {
        tokio::select! {
            headers = self.link.reply.wait() => Some(headers.clone()),
            () = self.link.gone.cancelled() => self.link.reply.get().cloned(),
        }
    }

    /// Waits until the stream was reset by the peer or its connection is over. Owns nothing of the
    /// stream, so that it can be waited for while the stream is read and written.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        self.link.gone.clone().cancelled_owned()
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Takes it that there is nothing to be written (any more), without telling the peer.
    pub(crate) fn mark_finished(&mut self) {
        self.finished = true;
    }

    fn lost(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::BrokenPipe,
            "the stream is gone: reset by the peer, or its connection ended",
        )
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, fin: bool, data: &[u8]) -> Poll<io::Result<()>> {
        if self.link.gone.is_cancelled() {
            return Poll::Ready(Err(self.lost()));
        }
        let reserved = ready!(self.outgoing.poll_reserve(cx));
        let frame = Outgoing::Data { id: self.id, fin, data: Bytes::copy_from_slice(data) };
        Poll::Ready(reserved.and_then(|()| self.outgoing.send_item(frame)).map_err(|_| self.lost()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.piece.is_empty() {
            match ready!(self.inbound.poll_recv(cx)) {
                Some(piece) => self.piece = piece,
                None => return Poll::Ready(end_of_reading(self.link.peer_end())),
            }
        }
        let length = self.piece.len().min(buf.remaining());
        buf.put_slice(&self.piece[..length]);
        self.piece.advance(length);
        Poll::Ready(Ok(()))
    }
}

fn end_of_reading(end: Option<PeerEnd>) -> io::Result<()> {
    match end {
        Some(PeerEnd::Finished) => Ok(()),
        Some(PeerEnd::Reset(status)) => Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            format!("the peer reset the stream: {status:?}"),
        )),
        Some(PeerEnd::Lost) | None => {
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection ended before the stream"))
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.finished {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::BrokenPipe, "this side has written all")));
        }
        let length = buf.len().min(DATA_LENGTH_MAX);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_send(cx, false, &buf[..length]))?;
        Poll::Ready(Ok(length))
    }

    /// Ready at once: what was written stands in the connection's queue, which is written in order.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.finished {
            ready!(self.poll_send(cx, true, &[]))?;
            self.finished = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.forget(self.id);
        if !self.finished && !self.link.gone.is_cancelled() {
            self.shared.give_up(self.id);
        }
    }
}
