//! Several event streams as one body. One that ends or breaks off is left out; the others go on.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use exchange::{Body, BodyError, BoxFuture, Closing, Framer, Messages, Passage, sse::Events};
use http_body::{Body as _, Frame};
use mesh::Denial;

/// Events that one source may have ready before the others are asked.
const AHEAD_MAX: usize = 64;

/// One of the streams.
pub(crate) struct Source {
    pub(crate) body: Body,
    pub(crate) messages: Box<dyn Messages>,
}

/// The streams as one, after `first`.
pub(crate) fn merge(
    sources: Vec<Source>,
    first: Option<Bytes>,
    event_bytes_max: usize,
    closing: &Closing,
) -> Body {
    let open = |source: Source| Open { source, framer: Events::new(event_bytes_max) };
    let closed: BoxFuture<'static, Arc<Denial>> = Box::pin(closing.closed());
    Body::piped(Merged {
        sources: sources.into_iter().map(open).collect(),
        next: 0,
        ready: first.into_iter().collect(),
        closed: Some(closed),
    })
}

struct Open {
    source: Source,
    framer: Events,
}

struct Merged {
    sources: Vec<Open>,
    next: usize,
    ready: VecDeque<Bytes>,
    closed: Option<BoxFuture<'static, Arc<Denial>>>,
}

/// How far a source is.
enum Step {
    Waits,
    Goes,
    Over,
}

impl Merged {
    fn step(&mut self, at: usize, context: &mut Context<'_>) -> Step {
        let Some(open) = self.sources.get_mut(at) else { return Step::Waits };
        match Pin::new(&mut open.source.body).poll_frame(context) {
            Poll::Pending => Step::Waits,
            Poll::Ready(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { return Step::Goes };
                open.framer.push(data);
                loop {
                    match open.framer.next() {
                        Ok(Some(block)) => {
                            if !pass(open, &block, &mut self.ready) {
                                return Step::Over;
                            }
                        }
                        Ok(None) => return Step::Goes,
                        Err(_) => return Step::Over,
                    }
                }
            }
            Poll::Ready(None) => {
                if let Ok(Some(block)) = open.framer.finish() {
                    pass(open, &block, &mut self.ready);
                }
                Step::Over
            }
            Poll::Ready(Some(Err(_))) => Step::Over,
        }
    }
}

/// Judges one event; false if the source ends with it.
fn pass(open: &mut Open, block: &Bytes, ready: &mut VecDeque<Bytes>) -> bool {
    match open.source.messages.message(block) {
        Passage::Pass => ready.push_back(block.clone()),
        Passage::Replace(other) => ready.push_back(other),
        Passage::Drop => {}
        Passage::End(last) => {
            ready.extend(last);
            return false;
        }
    }
    true
}

impl http_body::Body for Merged {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(closed) = &mut this.closed
            && let Poll::Ready(denial) = closed.as_mut().poll(context)
        {
            this.closed = None;
            // Each source says its own end, once for the stream is enough.
            let last = this.sources.first_mut().and_then(|open| open.source.messages.closed(&denial));
            this.sources.clear();
            this.ready.extend(last);
        }
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.sources.is_empty() {
                return Poll::Ready(None);
            }
            let mut moved = false;
            let count = this.sources.len();
            let begin = this.next % count;
            let mut over = Vec::new();
            for turn in 0..count {
                let at = (begin + turn) % count;
                match this.step(at, context) {
                    Step::Waits => {}
                    Step::Goes => moved = true,
                    Step::Over => {
                        moved = true;
                        over.push(at);
                    }
                }
                if this.ready.len() >= AHEAD_MAX {
                    this.next = at + 1;
                    break;
                }
            }
            over.sort_unstable_by(|one, other| other.cmp(one));
            for at in over {
                let mut open = this.sources.remove(at);
                this.ready.extend(open.source.messages.finished());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sources.is_empty() && self.ready.is_empty()
    }
}
