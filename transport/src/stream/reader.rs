//! The direction of a stream that comes in.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};

use super::chunk::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
use crate::{hbone::carrier::TunnelReader, socket::Socket};

/// Chunks that are handed on together.
const CHUNKS_MAX: usize = 64;

/// The direction of a stream that comes in.
#[derive(Debug)]
pub struct Reader {
    leftover: Bytes,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Socket(SocketReader),
    Tunnel(TunnelReader),
}

/// Reads with a buffer that grows fourfold while it comes back full. A socket that is quiet holds no buffer.
#[derive(Debug)]
struct SocketReader {
    socket: Arc<Socket>,
    size: usize,
}

impl Reader {
    pub(crate) fn of(socket: Arc<Socket>) -> Self {
        let source = Source::Socket(SocketReader { socket, size: CHUNK_BYTES_MIN });
        Self { leftover: Bytes::new(), source }
    }

    pub(crate) fn prepend(&mut self, bytes: Bytes) {
        if self.leftover.is_empty() {
            self.leftover = bytes;
        } else {
            let mut joined = BytesMut::with_capacity(bytes.len() + self.leftover.len());
            joined.extend_from_slice(&bytes);
            joined.extend_from_slice(&self.leftover);
            self.leftover = joined.freeze();
        }
    }

    /// The next bytes, or `None` when the other end has finished.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn read_chunk(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if !self.leftover.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.leftover))));
        }
        match &mut self.source {
            Source::Socket(socket) => socket.poll_chunk(cx),
            Source::Tunnel(tunnel) => tunnel.poll_chunk(cx),
        }
    }

    /// What is there now, added to `chunks`; false when the other end has finished. Of a socket it is one read: a
    /// short one has drained it. A tunnel hands out frames, of which many may lie ready.
    pub(crate) fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut VecDeque<Bytes>,
    ) -> Poll<io::Result<bool>> {
        let Some(first) = ready!(self.poll_chunk(cx))? else {
            return Poll::Ready(Ok(false));
        };
        let mut bytes = first.len();
        chunks.push_back(first);
        let Source::Tunnel(tunnel) = &mut self.source else {
            return Poll::Ready(Ok(true));
        };
        while bytes < CHUNK_BYTES_MAX && chunks.len() < CHUNKS_MAX {
            match tunnel.poll_chunk(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    bytes += chunk.len();
                    chunks.push_back(chunk);
                }
                // An end or an error shows again at the next call, when what came before it is delivered.
                Poll::Ready(_) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(true))
    }

    pub(crate) fn poll_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.leftover.is_empty() {
            if let Source::Socket(reader) = &self.source {
                return reader.poll_into(cx, buffer);
            }
            match ready!(self.poll_chunk(cx))? {
                Some(chunk) => self.leftover = chunk,
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = self.leftover.len().min(buffer.remaining());
        buffer.put_slice(&self.leftover[..taken]);
        self.leftover.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl SocketReader {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            let mut buffer = BytesMut::with_capacity(self.size);
            match self.socket.try_read(&mut buffer) {
                Ok(0) => return Poll::Ready(Ok(None)),
                Ok(read) => {
                    let short = read <= self.size / 4;
                    if read == self.size {
                        self.size = (self.size * 4).min(CHUNK_BYTES_MAX);
                    } else if short {
                        self.size = (self.size / 4).max(CHUNK_BYTES_MIN);
                    }
                    // A large buffer must not be held by the few bytes in it.
                    let chunk = if short { Bytes::copy_from_slice(&buffer) } else { buffer.freeze() };
                    return Poll::Ready(Ok(Some(chunk)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_into(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            match self.socket.try_read(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl From<TunnelReader> for Reader {
    fn from(tunnel: TunnelReader) -> Self {
        Self { leftover: Bytes::new(), source: Source::Tunnel(tunnel) }
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().poll_into(cx, buffer)
    }
}
