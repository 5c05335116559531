//! A stream of an HTTP/2 connection as bytes: the only place that moves DATA frames.
//!
//! Never sends an empty DATA frame except to end a stream: receivers count them as an attack.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};

use crate::stream::chunk::CHUNK_BYTES_MAX;

/// Chunks smaller than this are joined, so that the peer does not count many tiny frames against us.
const SMALL_BYTES: usize = 1024;
/// Bytes of joined chunks.
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// How many streams a tunnel carries.
#[derive(Debug, Default)]
pub(crate) struct Load {
    streams: AtomicUsize,
}

impl Load {
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Acquire)
    }

    /// Takes a place; it is free again when the slot and all its clones are dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Slot {
        self.streams.fetch_add(1, Ordering::AcqRel);
        Slot(Arc::new(Place(self.clone())))
    }
}

/// A stream's place in its tunnel.
#[derive(Debug, Clone)]
pub(crate) struct Slot(#[expect(dead_code, reason = "held for its drop")] Arc<Place>);

#[derive(Debug)]
struct Place(Arc<Load>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The direction that comes in. The peer's credit is given back when the next bytes are asked for, so a reader that
/// stops holds its own window and nobody else's.
#[derive(Debug)]
pub(crate) struct TunnelReader {
    frames: RecvStream,
    taken: usize,
    _slot: Slot,
}

impl TunnelReader {
    pub(crate) fn new(frames: RecvStream, slot: Slot) -> Self {
        Self { frames, taken: 0, _slot: slot }
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if self.taken > 0 {
                // It fails only when the stream is gone, and then the next line says so.
                let _ = self.frames.flow_control().release_capacity(self.taken);
                self.taken = 0;
            }
            return Poll::Ready(match ready!(self.frames.poll_data(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => {
                    self.taken = bytes.len();
                    Ok(Some(bytes))
                }
                // RFC 9113, section 8.1: a server that needs no more says so with NO_ERROR. Any other reset, also
                // CANCEL, may have cut the bytes short.
                Some(Err(error))
                    if error.is_remote() && error.reason() == Some(Reason::NO_ERROR) && error.is_reset() =>
                {
                    Ok(None)
                }
                Some(Err(error)) => Err(to_io(error)),
                None => Ok(None),
            });
        }
    }
}

/// The direction that goes out. Dropped before it was finished, it cuts the stream.
#[derive(Debug)]
pub(crate) struct TunnelWriter {
    frames: SendStream<Bytes>,
    finished: bool,
    _slot: Slot,
}

impl TunnelWriter {
    pub(crate) fn new(frames: SendStream<Bytes>, slot: Slot) -> Self {
        Self { frames, finished: false, _slot: slot }
    }

    /// Ready with how many bytes may be sent, at least one.
    fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.frames.reserve_capacity(wanted.min(CHUNK_BYTES_MAX));
        loop {
            match self.frames.capacity() {
                0 => match ready!(self.frames.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(to_io(error))),
                    None => return Poll::Ready(Err(self.why_closed(cx))),
                },
                some => return Poll::Ready(Ok(some)),
            }
        }
    }

    pub(crate) fn poll_chunks(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut VecDeque<Bytes>,
    ) -> Poll<io::Result<()>> {
        loop {
            while chunks.front().is_some_and(Bytes::is_empty) {
                chunks.pop_front();
            }
            if chunks.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let wanted = chunks.iter().map(Bytes::len).sum();
            let capacity = ready!(self.poll_capacity(cx, wanted))?;
            let frame = next_frame(chunks, capacity);
            self.frames.send_data(frame, false).map_err(to_io)?;
        }
    }

    pub(crate) fn poll_slices(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let capacity = ready!(self.poll_capacity(cx, wanted))?;
        let mut frame = BytesMut::with_capacity(capacity.min(wanted));
        for part in parts {
            let room = capacity - frame.len();
            frame.extend_from_slice(&part[..part.len().min(room)]);
        }
        let written = frame.len();
        self.frames.send_data(frame.freeze(), false).map_err(to_io)?;
        Poll::Ready(Ok(written))
    }

    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.finished {
            // Our direction ended well; what becomes of the other is for the reader to see.
            return Poll::Pending;
        }
        match ready!(self.frames.poll_reset(cx)) {
            Ok(reason) => Poll::Ready(reset_by_peer(reason)),
            Err(error) => Poll::Ready(to_io(error)),
        }
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.finished {
            return Ok(());
        }
        self.frames.send_data(Bytes::new(), true).map_err(to_io)?;
        self.finished = true;
        Ok(())
    }

    /// RFC 9113, section 8.5: a connection that broke is a CONNECT_ERROR. CANCEL would be taken for an orderly end
    /// by Istio's ztunnel.
    pub(crate) fn reset(&mut self) {
        self.finished = true;
        self.frames.send_reset(Reason::CONNECT_ERROR);
    }

    fn why_closed(&mut self, cx: &mut Context<'_>) -> io::Error {
        match self.frames.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => reset_by_peer(reason),
            Poll::Ready(Err(error)) => to_io(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }
    }
}

impl Drop for TunnelWriter {
    fn drop(&mut self) {
        if !self.finished {
            self.reset();
        }
    }
}

/// The front chunk as far as it may be sent, or several small ones as one.
fn next_frame(chunks: &mut VecDeque<Bytes>, capacity: usize) -> Bytes {
    let Some(front) = chunks.front_mut() else {
        return Bytes::new();
    };
    if front.len() > capacity {
        return front.split_to(capacity);
    }
    let front = chunks.pop_front().unwrap_or_default();
    if front.len() >= SMALL_BYTES || chunks.is_empty() {
        return front;
    }
    let room = capacity.min(JOINED_BYTES_MAX);
    let mut joined = BytesMut::with_capacity(room);
    joined.extend_from_slice(&front);
    while let Some(next) = chunks.front_mut() {
        let fits = next.len().min(room - joined.len());
        if fits == 0 {
            break;
        }
        joined.extend_from_slice(&next.split_to(fits));
        if next.is_empty() {
            chunks.pop_front();
        }
    }
    joined.freeze()
}

fn reset_by_peer(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, format!("the peer reset the stream: {reason}"))
}

pub(crate) fn to_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
    }
    let kind =
        if error.is_reset() { io::ErrorKind::ConnectionReset } else { io::ErrorKind::ConnectionAborted };
    io::Error::new(kind, error)
}
