//! Bodies that are not read, only measured.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use exchange::{Body, BodyError};
use http_body::{Body as _, Frame};
use mesh::{Denial, resource::Direction};

use crate::compile::Rules;

/// The body of a request whose bytes may stream both ways: it is measured, and refused where it would have to be read.
/// Any caller can say that its content is of that kind.
pub(crate) fn measured(rules: &Rules, body: Body) -> Result<Body, Denial> {
    const DIRECTION: Direction = Direction::Request;
    if rules.enforces(DIRECTION) {
        return Err(rules.unreadable(DIRECTION, "the content is a stream that nobody could read"));
    }
    let Some(limit) = rules.said_max(DIRECTION) else { return Ok(body) };
    if body.size_hint().lower() > limit as u64 {
        return Err(rules.too_large(DIRECTION));
    }
    Ok(Body::piped(Measured::new(body, limit)))
}

/// A body that breaks off where it is longer than allowed.
pub(crate) struct Measured {
    body: Body,
    left: usize,
    limit: usize,
}

impl Measured {
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self { body, left: limit, limit }
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.body = Body::empty();
                    return Poll::Ready(Some(Err(BodyError::TooLarge { limit: self.limit })));
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
