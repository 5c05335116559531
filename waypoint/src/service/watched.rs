//! The end of an exchange: a response whose last byte, failure or abandonment is seen and reported exactly once.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use exchange::{Body, BodyError, BoxFuture, Chain, Closing, End, Response, Trail};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Frame;
use mesh::Denial;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep},
};

use crate::{connections::Registered, report::Ended};

/// Frames that may still pass after an exchange was closed, so that a protocol can write its own end.
const FRAMES_AFTER_CLOSING_MAX: u32 = 16;

/// What must happen at the end, whichever end it is. Dropped before: the caller has left.
pub(crate) struct Finish {
    pub(crate) chain: Chain,
    ended: Option<Ended>,
    // The entry among what runs, and the room for a held body, are given back at the end.
    _held: (Registered, Option<OwnedSemaphorePermit>),
    trail: Trail,
    closing: Closing,
    status: StatusCode,
    bytes: u64,
}

impl Finish {
    pub(crate) fn new(
        chain: Chain,
        ended: Ended,
        held: (Registered, Option<OwnedSemaphorePermit>),
        trail: Trail,
        closing: Closing,
    ) -> Self {
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Self { chain, ended: Some(ended), _held: held, trail, closing, status, bytes: 0 }
    }

    /// The end of the exchange, once.
    pub(crate) fn end(&mut self, end: &End, trailers: Option<&HeaderMap>) {
        if let Some(mut ended) = self.ended.take() {
            self.chain.end(end);
            if let Some(trailers) = trailers {
                ended.grpc_status(trailers);
            }
            match end {
                End::Complete => {}
                End::CallerLeft => self.trail.failed("the caller left"),
                End::Broken(error) => self.trail.failed(error),
                End::Closed(denial) => ended.closed(denial),
            }
            ended.finish(self.status, self.bytes, &self.trail.record(), Some(end));
        }
    }

    pub(crate) fn closing(&self) -> &Closing {
        &self.closing
    }

    pub(crate) fn answered(&mut self, response: &Response) {
        self.status = response.status();
        if let Some(ended) = &mut self.ended {
            ended.grpc_status(response.headers());
        }
    }

    pub(crate) fn moved(&mut self, sent: u64, received: u64) {
        self.bytes += sent;
        if let Some(ended) = &self.ended {
            ended.received(received);
        }
    }

    /// The response, watched to its end.
    pub(crate) fn watch(
        mut self,
        mut response: Response,
        deadline: Option<Instant>,
        idle: Duration,
    ) -> Response {
        self.answered(&response);
        let kind = Manner::of(response.headers());
        let body = std::mem::take(response.body_mut());
        if body.is_empty() {
            self.end(&End::Complete, None);
            return response;
        }
        // A body whose length is not the one that was announced would break the connection; one that nobody knows
        // needs no announcement.
        let exact = http_body::Body::size_hint(&body).exact();
        if exact.is_some_and(|exact| {
            response.headers().get(header::CONTENT_LENGTH) != Some(&HeaderValue::from(exact))
        }) {
            response.headers_mut().remove(header::CONTENT_LENGTH);
        }
        if let (None, Some(ended)) = (exact, &mut self.ended) {
            ended.streams(&self.trail.record());
        }
        let closed: BoxFuture<'static, Arc<Denial>> = Box::pin(self.closing.closed());
        let watched = Watched {
            body,
            finish: self,
            manner: kind,
            closed: Some(closed),
            denial: None,
            after: 0,
            deadline: deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
            idle: Box::pin(tokio::time::sleep(idle)),
            idle_span: idle,
            over: false,
        };
        *response.body_mut() = Body::piped(watched);
        response
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        self.end(&End::CallerLeft, None);
    }
}

/// How a stream that is closed ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    // By trailers that say so.
    Grpc,
    // After any event.
    Events,
    // It has none: it is cut, so that nobody takes it for whole.
    Cut,
}

impl Manner {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if exchange::Convention::of(headers) == exchange::Convention::Grpc {
            Self::Grpc
        } else if kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream") {
            Self::Events
        } else {
            Self::Cut
        }
    }
}

struct Watched {
    body: Body,
    finish: Finish,
    manner: Manner,
    closed: Option<BoxFuture<'static, Arc<Denial>>>,
    denial: Option<Arc<Denial>>,
    after: u32,
    deadline: Option<Pin<Box<Sleep>>>,
    idle: Pin<Box<Sleep>>,
    idle_span: Duration,
    over: bool,
}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Watched {
    fn fail(&mut self, error: BodyError) -> Polled {
        self.over = true;
        self.body = Body::empty();
        self.finish.end(&End::Broken(error.clone()), None);
        Poll::Ready(Some(Err(error)))
    }

    fn close(&mut self, denial: &Arc<Denial>) -> Polled {
        self.over = true;
        self.body = Body::empty();
        let end = End::Closed(Arc::clone(denial));
        match self.manner {
            Manner::Events => {
                self.finish.end(&end, None);
                Poll::Ready(None)
            }
            Manner::Grpc => {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("7"));
                trailers.insert("grpc-message", HeaderValue::from_static("no longer allowed"));
                self.finish.end(&end, Some(&trailers));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Manner::Cut => {
                self.finish.end(&end, None);
                Poll::Ready(Some(Err(BodyError::Closed(Denial::clone(denial)))))
            }
        }
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if let Some(closed) = &mut this.closed
            && let Poll::Ready(denial) = closed.as_mut().poll(context)
        {
            this.closed = None;
            this.denial = Some(denial);
        }
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return this.fail(BodyError::Stalled);
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(denial) = this.denial.clone() {
                    this.after += 1;
                    if this.after > FRAMES_AFTER_CLOSING_MAX {
                        return this.close(&denial);
                    }
                }
                this.finish.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                let next = Instant::now() + this.idle_span;
                this.idle.as_mut().reset(next);
                // Whoever knows the length, or saw the trailers, asks no further.
                if frame.is_trailers() || this.body.is_end_stream() {
                    let end = this.denial.clone().map_or(End::Complete, End::Closed);
                    this.finish.end(&end, frame.trailers_ref());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.over = true;
                let end = this.denial.clone().map_or(End::Complete, End::Closed);
                this.finish.end(&end, None);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => this.fail(error),
            Poll::Pending => {
                if let Some(denial) = this.denial.clone() {
                    return this.close(&denial);
                }
                if this.idle.as_mut().poll(context).is_ready() {
                    return this.fail(BodyError::Stalled);
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
