//! Carries the bytes of one stream to another and back, until both directions have ended.

use std::{
    collections::VecDeque,
    future::{pending, poll_fn},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;

use crate::stream::{Reader, Stream, Writer};

/// Reads and writes of one direction before others have their turn.
const TURNS_MAX: usize = 8;

/// Ends a relay from elsewhere.
pub type Cancel = tokio_util::sync::CancellationToken;

/// How a relay behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ends it when no byte moved in either direction for so long.
    pub idle_timeout: Option<Duration>,
    /// Counted as bytes move, for whoever watches.
    pub counts: Arc<Counts>,
}

/// Bytes moved so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// From the first stream to the second.
    pub sent: AtomicU64,
    /// From the second stream to the first.
    pub received: AtomicU64,
}

/// What a relay did.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes from the first stream to the second.
    pub sent: u64,
    /// Bytes from the second stream to the first.
    pub received: u64,
    /// How it ended.
    pub end: End,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions were finished by those who wrote them.
    Finished,
    /// It was cancelled; both streams were reset.
    Cancelled,
    /// Nothing moved for too long; both streams were reset.
    Idle,
    /// One stream was cut; the other was reset.
    Failed {
        /// Which.
        side: Side,
        /// How.
        cause: io::Error,
    },
}

/// One of the two streams of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    First,
    /// The second.
    Second,
}

/// Carries bytes both ways between two streams. A direction that finishes is finished at the other side; the other
/// direction goes on. Bytes are read only as far as they can be written.
pub async fn relay(first: Stream, second: Stream, cancel: &Cancel, options: &Options) -> Relayed {
    let (first_reader, first_writer) = first.split();
    let (second_reader, second_writer) = second.split();
    let mut forth = Direction::new(first_reader, second_writer, Side::First);
    let mut back = Direction::new(second_reader, first_writer, Side::Second);
    let counts = &options.counts;
    let end = {
        let moving = poll_fn(|cx| {
            let forth = forth.poll(cx, &counts.sent);
            let back = back.poll(cx, &counts.received);
            match (forth, back) {
                (Poll::Ready(Err(failed)), _) | (_, Poll::Ready(Err(failed))) => Poll::Ready(failed),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Finished),
                _ => Poll::Pending,
            }
        });
        tokio::select! {
            biased;
            () = cancel.cancelled() => End::Cancelled,
            end = moving => end,
            () = idle(options.idle_timeout, counts) => End::Idle,
        }
    };
    if !matches!(end, End::Finished) {
        forth.writer.reset();
        back.writer.reset();
    }
    Relayed { sent: forth.moved, received: back.moved, end }
}

/// Ready when nothing moved for as long as it takes; the time is looked at only so often, so it is at most twice that.
async fn idle(timeout: Option<Duration>, counts: &Counts) {
    let Some(timeout) = timeout else { return pending().await };
    let moved = || (counts.sent.load(Ordering::Relaxed), counts.received.load(Ordering::Relaxed));
    let mut before = moved();
    loop {
        sleep(timeout).await;
        let now = moved();
        if now == before {
            return;
        }
        before = now;
    }
}

/// One direction: bytes that were read are written before more are read.
struct Direction {
    reader: Reader,
    writer: Writer,
    /// From which side it reads.
    from: Side,
    chunks: VecDeque<Bytes>,
    moved: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// The reader has ended; the writer is finished when what was read is written.
    Ending,
    Done,
}

impl Direction {
    fn new(reader: Reader, writer: Writer, from: Side) -> Self {
        Self { reader, writer, from, chunks: VecDeque::new(), moved: 0, state: State::Open }
    }

    fn poll(&mut self, cx: &mut Context<'_>, count: &AtomicU64) -> Poll<Result<(), End>> {
        let from = self.from;
        let read_failed = |cause| End::Failed { side: from, cause };
        let write_failed = |cause| End::Failed { side: from.other(), cause };
        for _ in 0..TURNS_MAX {
            if !self.chunks.is_empty() {
                let before = total(&self.chunks);
                let written = self.writer.poll_chunks(cx, &mut self.chunks);
                let moved = before - total(&self.chunks);
                self.moved += moved;
                count.fetch_add(moved, Ordering::Relaxed);
                ready!(written).map_err(write_failed)?;
            }
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Ending => {
                    self.writer.finish().map_err(write_failed)?;
                    self.state = State::Done;
                    return Poll::Ready(Ok(()));
                }
                State::Open => match self.reader.poll_gather(cx, &mut self.chunks) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => self.state = State::Ending,
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(read_failed(cause))),
                    Poll::Pending => {
                        // With nothing to write, only this tells that the other side no longer wants to hear.
                        return self.writer.poll_cut(cx).map(|cause| Err(write_failed(cause)));
                    }
                },
            }
        }
        // The others of this worker have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn total(chunks: &VecDeque<Bytes>) -> u64 {
    chunks.iter().map(|chunk| chunk.len() as u64).sum()
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}
