//! What the reader, the writer and the streams of one connection share, and the bounds of it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, SetOnce, mpsc};
use tokio_util::sync::CancellationToken;

use crate::frame::{Control, ResetStatus, StreamId};
use crate::headers::Headers;

/// The most streams that are open at once on a connection; a further one is refused.
pub const STREAMS_MAX: usize = 2048;
/// The most streams that wait to be accepted; then the connection is not read on.
pub const INCOMING_STREAMS_MAX: usize = 128;
/// The most frames that wait to be written; then writers wait.
pub const OUTGOING_FRAMES_MAX: usize = 32;
/// The most pieces of data (16 KiB at most) that wait for a stream's reader; then the connection is
/// not read on.
pub const STREAM_CHUNKS_MAX: usize = 16;

/// What waits to be written.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Control(Control),
    Data { id: StreamId, fin: bool, data: Bytes },
}

/// How the peer's side of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerEnd {
    /// It said that it has written all.
    Finished,
    /// It reset the stream.
    Reset(ResetStatus),
    /// The connection ended first.
    Lost,
}

/// One stream, as the reader sees it.
#[derive(Debug)]
pub(crate) struct Link {
    inbound: Mutex<Inbound>,
    /// Set once the stream can be neither read on nor written: reset, or the connection is over.
    pub(crate) gone: CancellationToken,
    /// The peer's answer to a stream that we opened.
    pub(crate) reply: SetOnce<Headers>,
}

#[derive(Debug)]
struct Inbound {
    chunks: Option<mpsc::Sender<Bytes>>,
    end: Option<PeerEnd>,
}

impl Link {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(STREAM_CHUNKS_MAX);
        let inbound = Mutex::new(Inbound { chunks: Some(sender), end: None });
        (Arc::new(Self { inbound, gone: CancellationToken::new(), reply: SetOnce::new() }), receiver)
    }

    /// Where data goes, until the peer's side ends.
    pub(crate) fn chunks(&self) -> Option<mpsc::Sender<Bytes>> {
        self.inbound.lock().chunks.clone()
    }

    /// Ends the peer's side; the first end counts, but a reset or a loss also ends what is written.
    pub(crate) fn end(&self, end: PeerEnd) {
        let mut inbound = self.inbound.lock();
        inbound.end.get_or_insert(end);
        inbound.chunks = None;
        if end != PeerEnd::Finished {
            self.gone.cancel();
        }
    }

    /// How the peer's side ended, once it has.
    pub(crate) fn peer_end(&self) -> Option<PeerEnd> {
        self.inbound.lock().end
    }
}

/// A connection, as its parts see it.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Streams that have a [`Stream`](crate::Stream) in someone's hands.
    streams: Mutex<HashMap<StreamId, Arc<Link>>>,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
    /// Streams that were dropped before they had ended; never more than there were streams.
    cancelled: Mutex<Vec<StreamId>>,
    /// Told when `cancelled` has something.
    pub(crate) cancel: Notify,
    /// Set when this side wants the connection to end.
    pub(crate) closing: CancellationToken,
    /// Set when it has ended.
    pub(crate) ended: CancellationToken,
    /// The number of the next stream that we open.
    pub(crate) next: Mutex<StreamId>,
}

impl Shared {
    pub(crate) fn new(next: StreamId) -> (Arc<Self>, mpsc::Receiver<Outgoing>) {
        let (outgoing, receiver) = mpsc::channel(OUTGOING_FRAMES_MAX);
        let shared = Self {
            streams: Mutex::default(),
            outgoing,
            cancelled: Mutex::default(),
            cancel: Notify::new(),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
            next: Mutex::new(next),
        };
        (Arc::new(shared), receiver)
    }

    /// Enters a stream, unless there are too many already or the connection is over.
    pub(crate) fn enter(&self, id: StreamId, link: &Arc<Link>) -> bool {
        let mut streams = self.streams.lock();
        let room = streams.len() < STREAMS_MAX && !self.ended.is_cancelled();
        if room {
            streams.insert(id, Arc::clone(link));
        }
        room
    }

    pub(crate) fn stream(&self, id: StreamId) -> Option<Arc<Link>> {
        self.streams.lock().get(&id).cloned()
    }

    pub(crate) fn forget(&self, id: StreamId) {
        self.streams.lock().remove(&id);
    }

    /// Asks for a reset of a stream that is given up.
    pub(crate) fn give_up(&self, id: StreamId) {
        self.cancelled.lock().push(id);
        self.cancel.notify_one();
    }

    pub(crate) fn take_cancelled(&self) -> Vec<StreamId> {
        std::mem::take(&mut *self.cancelled.lock())
    }

    /// Tells every stream that the connection is over.
    pub(crate) fn end(&self) {
        let streams = {
            let mut streams = self.streams.lock();
            self.ended.cancel();
            std::mem::take(&mut *streams)
        };
        for link in streams.values() {
            link.end(PeerEnd::Lost);
        }
    }
}
