//! A stream of bytes in two directions, whatever carries it: a socket or a stream of a tunnel.
//!
//! It speaks in chunks, so that what lies beneath can be exchanged and bytes are handed on without a copy; it is
//! also `AsyncRead` and `AsyncWrite` for those who need that. Each direction ends by itself. A stream of a tunnel
//! that is dropped before it was finished is cut, so that nobody takes a part for the whole; a socket is closed as
//! the system closes it.

pub(crate) mod chunk;
mod reader;
mod writer;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use chunk::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
pub use reader::Reader;
pub use writer::Writer;

use crate::{
    credential::VerifiedPeer,
    hbone::{
        ResponseHead,
        carrier::{TunnelReader, TunnelWriter},
    },
    socket::Socket,
};

/// A stream of bytes in two directions.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    writer: Writer,
    path: Vec<Arc<VerifiedPeer>>,
    address: Option<SocketAddr>,
    answer: Option<ResponseHead>,
}

impl Stream {
    pub(crate) fn of_tunnel(
        reader: TunnelReader,
        writer: TunnelWriter,
        path: Vec<Arc<VerifiedPeer>>,
        answer: Option<ResponseHead>,
    ) -> Self {
        Self { reader: reader.into(), writer: writer.into(), path, address: None, answer }
    }

    /// Whom the stream leads to (or comes from), the nearest first: for a stream through a gateway the gateway, then
    /// the final peer. Empty for plain sockets.
    pub fn path(&self) -> &[Arc<VerifiedPeer>] {
        &self.path
    }

    /// The peer at the far end, if it proved itself.
    pub fn peer(&self) -> Option<&Arc<VerifiedPeer>> {
        self.path.last()
    }

    /// The IP address and port of the other end, if this is a TCP socket.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What the far end said when it accepted the stream; only on streams that we opened through a tunnel.
    pub fn answer(&self) -> Option<&ResponseHead> {
        self.answer.as_ref()
    }

    /// Puts back bytes that were read already: the next read returns them first.
    pub fn prepend(&mut self, bytes: Bytes) {
        self.reader.prepend(bytes);
    }

    /// The next bytes, or `None` when the other end has finished.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn read_chunk(&mut self) -> io::Result<Option<Bytes>> {
        self.reader.read_chunk().await
    }

    /// Writes all of these, as far as the other end takes them.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn write_chunks(&mut self, chunks: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
        let mut chunks: VecDeque<Bytes> = chunks.into_iter().collect();
        self.writer.write_chunks(&mut chunks).await
    }

    /// Says that no more bytes follow; the other direction goes on.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.writer.finish()
    }

    /// Cuts both directions: the other end sees a reset.
    pub fn reset(self) {
        self.writer.reset();
    }

    /// The two directions apart, for two tasks.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        let address = socket.peer_address();
        let socket = Arc::new(socket);
        let (reader, writer) = (Reader::of(socket.clone()), Writer::of(socket));
        Self { reader, writer, path: Vec::new(), address, answer: None }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().reader.poll_into(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().writer.poll_slices(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writer.poll_slices(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().writer.finish())
    }
}
