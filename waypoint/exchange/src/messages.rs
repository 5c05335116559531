//! Streams of messages inside a body: each is judged by itself, under the snapshot of its moment, in both directions.
//!
//! A [`Framer`] cuts bytes into messages, [`Messages`] says what becomes of each, [`through`] is the body that
//! results. The rest of a body that ends early is not read any more.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use mesh::Denial;

use crate::{Body, BodyError, BoxFuture, Closing};

/// What becomes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place, framed already.
    Replace(Bytes),
    /// Nothing goes on in its place.
    Drop,
    /// The stream ends here, well-formed, after this.
    End(Option<Bytes>),
}

/// Judges the messages of one direction of one stream.
pub trait Messages: Send {
    /// A message as it stood in the stream, frame included.
    fn message(&mut self, message: &Bytes) -> Passage;

    /// The exchange was closed from outside: what is still to be written, so that the end is well-formed.
    fn closed(&mut self, denial: &Denial) -> Option<Bytes>;

    /// The stream ended by itself: what is still to be written.
    fn finished(&mut self) -> Option<Bytes> {
        None
    }
}

/// Why bytes cannot be cut into messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// One message is longer than allowed.
    #[error("a message has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The bytes are not of this framing.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Cuts bytes into messages.
pub trait Framer: Send {
    /// Takes more bytes.
    fn push(&mut self, bytes: Bytes);

    /// The next whole message, frame included; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When the bytes cannot be a message. The stream is then over.
    fn next(&mut self) -> Result<Option<Bytes>, FramingError>;

    /// The bytes have ended: what is left, if it counts as a message.
    ///
    /// # Errors
    /// When what is left is no message.
    fn finish(&mut self) -> Result<Option<Bytes>, FramingError>;
}

/// The body that is left when every message of `body` has been judged.
pub fn through(body: Body, framer: Box<dyn Framer>, messages: Box<dyn Messages>, closing: &Closing) -> Body {
    let closed: BoxFuture<'static, Arc<Denial>> = Box::pin(closing.closed());
    Body::piped(Through { body, framer, messages, closed, ready: VecDeque::new(), state: State::Open })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    // The source is at its end; trailers may be waiting in `ready`.
    Over,
}

struct Through {
    body: Body,
    framer: Box<dyn Framer>,
    messages: Box<dyn Messages>,
    closed: BoxFuture<'static, Arc<Denial>>,
    ready: VecDeque<Frame<Bytes>>,
    state: State,
}

impl Through {
    fn put(&mut self, bytes: Option<Bytes>) {
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) {
            self.ready.push_back(Frame::data(bytes));
        }
    }

    fn end(&mut self, last: Option<Bytes>) {
        self.put(last);
        self.state = State::Over;
        self.body = Body::empty();
    }

    // Judges one message; true while the stream goes on.
    fn judge(&mut self, message: Bytes) -> bool {
        match self.messages.message(&message) {
            Passage::Pass => self.put(Some(message)),
            Passage::Replace(other) => self.put(Some(other)),
            Passage::Drop => {}
            Passage::End(last) => {
                self.end(last);
                return false;
            }
        }
        true
    }

    fn judge_ready(&mut self) -> Result<(), FramingError> {
        while let Some(message) = self.framer.next()? {
            if !self.judge(message) {
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FramingError> {
        if let Some(message) = self.framer.finish()?
            && !self.judge(message)
        {
            return Ok(());
        }
        let last = self.messages.finished();
        self.end(last);
        Ok(())
    }
}

impl http_body::Body for Through {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if this.state == State::Open
                && let Poll::Ready(denial) = this.closed.as_mut().poll(context)
            {
                let last = this.messages.closed(&denial);
                this.end(last);
            }
            if let Some(frame) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.state == State::Over {
                return Poll::Ready(None);
            }
            let malformed = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => {
                    this.end(None);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => this.finish(),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        this.framer.push(data);
                        this.judge_ready()
                    }
                    Err(frame) => {
                        let finished = this.finish();
                        if let Ok(trailers) = frame.into_trailers() {
                            this.ready.push_back(Frame::trailers(trailers));
                        }
                        finished
                    }
                },
            };
            if let Err(error) = malformed {
                this.end(None);
                return Poll::Ready(Some(Err(BodyError::Malformed(error.to_string()))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Over && self.ready.is_empty()
    }
}
