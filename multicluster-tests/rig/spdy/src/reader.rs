//! The half of a connection that reads: frames to their streams, in order, no further than their
//! readers keep up.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::compress::Inflater;
use crate::frame::{Control, FrameError, PREFIX_LENGTH, Prefix, ResetStatus, StreamId};
use crate::headers::Headers;
use crate::link::{Link, Outgoing, PeerEnd, Shared};
use crate::stream::Stream;

/// The most bytes that go to a stream in one piece.
const PIECE_LENGTH_MAX: usize = 16 * 1024;
/// How much is asked of the connection at a time.
const READ_LENGTH: usize = 32 * 1024;

/// Why reading ended, other than by the peer's goodbye.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

pub(crate) struct Reader<R> {
    io: R,
    shared: Arc<Shared>,
    incoming: mpsc::Sender<Stream>,
    inflater: Inflater,
    buffer: BytesMut,
    /// 1 when the peer is a client and opens odd streams, 0 when it is a server.
    peer_parity: u32,
    /// The highest stream that the peer opened.
    last: StreamId,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(io: R, shared: Arc<Shared>, incoming: mpsc::Sender<Stream>, peer_parity: u32) -> Self {
        Self {
            io,
            shared,
            incoming,
            inflater: Inflater::new(),
            buffer: BytesMut::new(),
            peer_parity,
            last: 0,
        }
    }

    /// Reads until the peer ends the connection.
    pub(crate) async fn run(&mut self) -> Result<(), ReadError> {
        while let Some(prefix) = self.prefix().await? {
            match prefix {
                Prefix::Data { id, fin, length } => self.data(id, fin, length).await?,
                Prefix::Control { kind, flags, length } => {
                    self.fill(length).await?;
                    let payload = self.buffer.split_to(length);
                    let control = Control::read(kind, flags, &payload, &mut self.inflater)?;
                    self.control(control).await;
                }
            }
        }
        Ok(())
    }

    /// Reads and throws away what still comes.
    pub(crate) async fn discard(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(READ_LENGTH);
            if !matches!(self.io.read_buf(&mut self.buffer).await, Ok(1..)) {
                return;
            }
        }
    }

    /// The next frame's first bytes; `None` when the peer ended between two frames.
    async fn prefix(&mut self) -> Result<Option<Prefix>, ReadError> {
        if self.buffer.is_empty() && self.more().await? == 0 {
            return Ok(None);
        }
        self.fill(PREFIX_LENGTH).await?;
        let bytes = self.buffer.split_to(PREFIX_LENGTH);
        let bytes = bytes.first_chunk().expect("eight bytes were split off");
        Ok(Some(Prefix::read(*bytes)?))
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.buffer.len() < length {
            if self.more().await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer ended within a frame"));
            }
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_LENGTH);
        self.io.read_buf(&mut self.buffer).await
    }

    async fn data(&mut self, id: StreamId, fin: bool, length: usize) -> Result<(), ReadError> {
        let link = self.shared.stream(id);
        let mut rest = length;
        while rest > 0 {
            self.fill(1).await?;
            let length = rest.min(self.buffer.len()).min(PIECE_LENGTH_MAX);
            // A copy: a piece must not hold on to the whole of what was read with it.
            let piece = Bytes::copy_from_slice(&self.buffer.split_to(length));
            rest -= length;
            if let Some(chunks) = link.as_ref().and_then(|link| link.chunks()) {
                self.deliver(chunks, piece).await;
            }
        }
        match link {
            Some(link) if fin => link.end(PeerEnd::Finished),
            // Streams that are forgotten here may still have data on the way; others never were.
            None if self.never_opened(id) => self.reset(id, ResetStatus::InvalidStream).await,
            _ => {}
        }
        Ok(())
    }

    async fn deliver(&mut self, chunks: mpsc::Sender<Bytes>, piece: Bytes) {
        tokio::select! {
            // An error says that nobody reads the stream any more; then nobody misses the data.
            _ = chunks.send(piece) => {}
            () = self.shared.closing.cancelled() => {}
        }
    }

    async fn control(&mut self, control: Control) {
        match control {
            Control::SynStream { id, fin, unidirectional, headers } => {
                self.opened(id, fin, unidirectional, headers).await;
            }
            Control::SynReply { id, fin, headers } => {
                if let Some(link) = self.shared.stream(id) {
                    // A second answer changes nothing.
                    let _ = link.reply.set(headers);
                    finish_if(fin, &link);
                }
            }
            Control::Headers { id, fin, .. } => {
                if let Some(link) = self.shared.stream(id) {
                    finish_if(fin, &link);
                }
            }
            Control::Reset { id, status } => {
                if let Some(link) = self.shared.stream(id) {
                    link.end(PeerEnd::Reset(status));
                }
            }
            Control::Ping(id) if id % 2 == self.peer_parity => {
                self.send(Control::Ping(id)).await;
            }
            // The peer opens no more streams; it ends the connection itself when it wants to.
            Control::GoAway { .. } | Control::Ping(_) | Control::Ignored => {}
        }
    }

    async fn opened(&mut self, id: StreamId, fin: bool, unidirectional: bool, headers: Headers) {
        if id % 2 != self.peer_parity || id <= self.last {
            return self.reset(id, ResetStatus::ProtocolError).await;
        }
        self.last = id;
        let (link, inbound) = Link::new();
        finish_if(fin, &link);
        if self.incoming.is_closed() || !self.shared.enter(id, &link) {
            return self.reset(id, ResetStatus::RefusedStream).await;
        }
        let mut stream = Stream::new(id, headers, link, Arc::clone(&self.shared), inbound);
        if unidirectional {
            stream.mark_finished();
        }
        tokio::select! {
            // What comes back by an error is dropped, and so reset.
            _ = self.incoming.send(stream) => {}
            () = self.shared.closing.cancelled() => {}
        }
    }

    fn never_opened(&self, id: StreamId) -> bool {
        if id % 2 == self.peer_parity { id > self.last } else { id >= *self.shared.next.lock() }
    }

    async fn reset(&mut self, id: StreamId, status: ResetStatus) {
        self.send(Control::Reset { id, status }).await;
    }

    async fn send(&mut self, control: Control) {
        // An error says that the writer has ended; then the connection ends.
        let _ = self.shared.outgoing.send(Outgoing::Control(control)).await;
    }
}

fn finish_if(fin: bool, link: &Link) {
    if fin {
        link.end(PeerEnd::Finished);
    }
}
