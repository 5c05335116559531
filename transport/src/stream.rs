//! A stream of bytes in two directions, whatever carries it: a socket, TLS, or a stream of a tunnel.
//!
//! It speaks in chunks, so that what lies beneath can be exchanged and bytes are handed on without a copy; it is
//! also `AsyncRead` and `AsyncWrite` for those who need that. Each direction ends by itself.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{credential::VerifiedPeer, hbone::ResponseHead, socket::Socket};

/// First read of a quiet stream, in bytes.
pub const CHUNK_BYTES_MIN: usize = 4 * 1024;
/// Largest read of a busy stream, in bytes.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// A stream of bytes in two directions.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    writer: Writer,
    path: Vec<Arc<VerifiedPeer>>,
    answer: Option<ResponseHead>,
}

/// The direction that comes in.
#[derive(Debug)]
pub struct Reader {}

/// The direction that goes out.
#[derive(Debug)]
pub struct Writer {}

impl Stream {
    /// Whom the stream leads to (or comes from), the nearest first: for a stream through a gateway the gateway, then
    /// the final peer. Empty for plain sockets.
    pub fn path(&self) -> &[Arc<VerifiedPeer>] {
        &self.path
    }

    /// The peer at the far end, if it proved itself.
    pub fn peer(&self) -> Option<&Arc<VerifiedPeer>> {
        self.path.last()
    }

    /// What the far end said when it accepted the stream; only on streams that we opened through a tunnel.
    pub fn answer(&self) -> Option<&ResponseHead> {
        self.answer.as_ref()
    }

    /// Puts back bytes that were read already: the next read returns them first.
    pub fn prepend(&mut self, bytes: Bytes) {
        let _ = bytes;
        todo!()
    }

    /// The next bytes, or `None` when the other end has finished.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn read_chunk(&mut self) -> io::Result<Option<Bytes>> {
        todo!()
    }

    /// Writes all of these, as far as the other end takes them.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn write_chunks(&mut self, chunks: impl IntoIterator<Item = Bytes>) -> io::Result<()> {
        let _ = chunks.into_iter();
        todo!()
    }

    /// Says that no more bytes follow; the other direction goes on.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn finish(&mut self) -> io::Result<()> {
        todo!()
    }

    /// Cuts both directions: the other end sees a reset.
    pub fn reset(self) {
        todo!()
    }

    /// The two directions apart, for two tasks.
    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        let _ = socket;
        todo!()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        todo!()
    }
}

impl AsyncWrite for Stream {
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
