//! The direction of a stream that goes out.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::{
    hbone::carrier::TunnelWriter,
    socket::{Socket, abort_on_close},
};

/// Parts of one write to a socket.
const SLICES_MAX: usize = 64;

/// The direction of a stream that goes out.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Socket { socket: Arc<Socket>, finished: bool },
    Tunnel(TunnelWriter),
}

impl Writer {
    pub(crate) fn of(socket: Arc<Socket>) -> Self {
        Self { sink: Sink::Socket { socket, finished: false } }
    }

    /// Writes all of these, as far as the other end takes them; what is written is taken out.
    ///
    /// # Errors
    /// When the stream was cut.
    pub async fn write_chunks(&mut self, chunks: &mut VecDeque<Bytes>) -> io::Result<()> {
        poll_fn(|cx| self.poll_chunks(cx, chunks)).await
    }

    /// Ready when all is written.
    pub(crate) fn poll_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut VecDeque<Bytes>,
    ) -> Poll<io::Result<()>> {
        match &mut self.sink {
            Sink::Socket { socket, .. } => poll_socket(socket, cx, chunks),
            Sink::Tunnel(tunnel) => tunnel.poll_chunks(cx, chunks),
        }
    }

    pub(crate) fn poll_slices(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.sink {
            Sink::Socket { socket, .. } => loop {
                ready!(socket.poll_write_ready(cx))?;
                match socket.try_write(parts) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return Poll::Ready(done),
                }
            },
            Sink::Tunnel(tunnel) => tunnel.poll_slices(cx, parts),
        }
    }

    /// Ready when the other end has cut the stream, for those who have nothing to write now. A socket does not say
    /// so before it is written to.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.sink {
            Sink::Socket { .. } => Poll::Pending,
            Sink::Tunnel(tunnel) => tunnel.poll_cut(cx),
        }
    }

    /// Says that no more bytes follow.
    ///
    /// # Errors
    /// When the stream was cut.
    pub fn finish(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Socket { finished: true, .. } => Ok(()),
            Sink::Socket { socket, finished } => {
                socket.finish()?;
                *finished = true;
                Ok(())
            }
            Sink::Tunnel(tunnel) => tunnel.finish(),
        }
    }

    /// Cuts the stream: the other end sees a reset once the reader is dropped as well.
    pub fn reset(self) {
        match self.sink {
            Sink::Socket { socket, .. } => abort_on_close(&socket),
            Sink::Tunnel(mut tunnel) => tunnel.reset(),
        }
    }
}

fn poll_socket(socket: &Socket, cx: &mut Context<'_>, chunks: &mut VecDeque<Bytes>) -> Poll<io::Result<()>> {
    loop {
        while chunks.front().is_some_and(Bytes::is_empty) {
            chunks.pop_front();
        }
        if chunks.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(socket.poll_write_ready(cx))?;
        let mut slices = [io::IoSlice::new(&[]); SLICES_MAX];
        let count = chunks.len().min(SLICES_MAX);
        for (slice, chunk) in slices.iter_mut().zip(chunks.iter()) {
            *slice = io::IoSlice::new(chunk);
        }
        match socket.try_write(&slices[..count]) {
            Ok(written) => take_out(chunks, written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

fn take_out(chunks: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = chunks.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        chunks.pop_front();
    }
}

impl From<TunnelWriter> for Writer {
    fn from(tunnel: TunnelWriter) -> Self {
        Self { sink: Sink::Tunnel(tunnel) }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_slices(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().finish())
    }
}
