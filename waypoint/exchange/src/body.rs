//! The body of a request or response: streamed by default, held when somebody needs all of it.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// Why a streamed body ended before its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyError {
    /// Whoever sends it went away or broke its protocol.
    #[error("the body was cut: {0}")]
    Cut(String),
    /// It is longer than is allowed here.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// Nothing came for too long.
    #[error("the body stalled")]
    Stalled,
    /// A message of a stream could not be framed.
    #[error("the stream is malformed: {0}")]
    Malformed(String),
    /// The exchange was closed meanwhile.
    #[error("the exchange was closed: {0}")]
    Closed(mesh::Denial),
}

/// Why a body cannot be held.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HoldError {
    /// It is longer than the limit. The body is still whole and can be streamed.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// It ended before its end.
    #[error(transparent)]
    Cut(#[from] BodyError),
}

type Source = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>;

/// A body. As an [`http_body::Body`] it yields its bytes and then its trailers, once.
#[derive(Default)]
pub struct Body {
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Held {
        bytes: Bytes,
        trailers: Option<HeaderMap>,
    },
    // The mutex is never contended: it makes a body `Sync` whose source is only `Send`.
    Streamed {
        ahead: VecDeque<Frame<Bytes>>,
        rest: Mutex<Source>,
    },
}

impl Body {
    /// No bytes and no trailers.
    pub fn empty() -> Self {
        Self::default()
    }

    /// These bytes, held.
    pub fn held_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let state = if bytes.is_empty() { State::Empty } else { State::Held { bytes, trailers: None } };
        Self { state }
    }

    /// No bytes, and trailers: how a call without an answer ends in HTTP/2.
    pub fn trailers(trailers: HeaderMap) -> Self {
        Self { state: State::Held { bytes: Bytes::new(), trailers: Some(trailers) } }
    }

    /// Whatever comes from elsewhere.
    pub fn streamed<B>(source: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        if source.is_end_stream() {
            return Self::empty();
        }
        let rest: Source = Box::pin(source.map_err(|error| BodyError::Cut(error.to_string())));
        Self { state: State::Streamed { ahead: VecDeque::new(), rest: Mutex::new(rest) } }
    }

    /// As [`Body::streamed`], for a source whose errors are of this crate already.
    pub fn piped<B>(source: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self { state: State::Streamed { ahead: VecDeque::new(), rest: Mutex::new(Box::pin(source)) } }
    }

    /// True if it is known to have neither bytes nor trailers.
    pub fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// Its bytes, if it is held or empty.
    pub fn held(&self) -> Option<&Bytes> {
        static NOTHING: Bytes = Bytes::new();
        match &self.state {
            State::Empty => Some(&NOTHING),
            State::Held { bytes, .. } => Some(bytes),
            State::Streamed { .. } => None,
        }
    }

    /// The same body, whose trailers are changed by `clean` when they come. If none are left, there were none.
    pub fn cleaned(self, clean: fn(&mut HeaderMap)) -> Self {
        match self.state {
            State::Empty => Self::empty(),
            State::Held { bytes, trailers } => {
                let trailers = trailers.and_then(|trailers| cleaned(trailers, clean));
                if bytes.is_empty() && trailers.is_none() {
                    return Self::empty();
                }
                Self { state: State::Held { bytes, trailers } }
            }
            state @ State::Streamed { .. } => Self::piped(Cleaned { body: Self { state }, clean }),
        }
    }

    /// Its trailers, if it is held and has any.
    pub fn held_trailers(&self) -> Option<&HeaderMap> {
        match &self.state {
            State::Held { trailers, .. } => trailers.as_ref(),
            State::Empty | State::Streamed { .. } => None,
        }
    }

    /// The same body again, if it is held or empty: for a further attempt, or a copy.
    pub fn again(&self) -> Option<Self> {
        let state = match &self.state {
            State::Empty => State::Empty,
            State::Held { bytes, trailers } => {
                State::Held { bytes: bytes.clone(), trailers: trailers.clone() }
            }
            State::Streamed { .. } => return None,
        };
        Some(Self { state })
    }

    /// Reads all of it, at most `limit` bytes, and keeps it. A body that is held already is returned as it is.
    ///
    /// # Errors
    /// When it is longer (it then stays whole, to be streamed), or was cut.
    pub async fn hold(&mut self, limit: usize) -> Result<&Bytes, HoldError> {
        if let State::Streamed { ahead, rest } = &mut self.state {
            let mut length: usize = ahead.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
            let complete = loop {
                if length > limit {
                    break false;
                }
                match rest.get_mut().frame().await {
                    None => break true,
                    Some(Err(cause)) => return Err(cause.into()),
                    Some(Ok(frame)) => {
                        length = length.saturating_add(frame.data_ref().map_or(0, Bytes::len));
                        ahead.push_back(frame);
                    }
                }
            };
            if !complete {
                return Err(HoldError::TooLarge { limit });
            }
            self.state = whole(std::mem::take(ahead), length);
        }
        match self.held() {
            Some(bytes) if bytes.len() <= limit => Ok(bytes),
            _ => Err(HoldError::TooLarge { limit }),
        }
    }
}

fn whole(frames: VecDeque<Frame<Bytes>>, length: usize) -> State {
    let mut chunks = Vec::new();
    let mut trailers = None;
    for frame in frames {
        match frame.into_data() {
            Ok(data) => chunks.push(data),
            Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
        }
    }
    chunks.retain(|chunk| !chunk.is_empty());
    let bytes = match chunks.len() {
        0 => Bytes::new(),
        1 => chunks.remove(0),
        _ => {
            let mut all = BytesMut::with_capacity(length);
            chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
            all.freeze()
        }
    };
    if bytes.is_empty() && trailers.is_none() { State::Empty } else { State::Held { bytes, trailers } }
}

fn cleaned(mut trailers: HeaderMap, clean: fn(&mut HeaderMap)) -> Option<HeaderMap> {
    clean(&mut trailers);
    (!trailers.is_empty()).then_some(trailers)
}

/// A body whose trailers are changed when they come.
struct Cleaned {
    body: Body,
    clean: fn(&mut HeaderMap),
}

impl http_body::Body for Cleaned {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let clean = self.clean;
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match polled {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => cleaned(trailers, clean).map(|trailers| Ok(Frame::trailers(trailers))),
                Err(frame) => Some(Ok(frame)),
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.state {
            State::Empty => Poll::Ready(None),
            State::Held { bytes, trailers } => {
                let frame = if bytes.is_empty() {
                    trailers.take().map(Frame::trailers)
                } else {
                    Some(Frame::data(std::mem::take(bytes)))
                };
                if trailers.is_none() {
                    self.state = State::Empty;
                }
                Poll::Ready(frame.map(Ok))
            }
            State::Streamed { ahead, rest } => {
                if let Some(frame) = ahead.pop_front() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                let next = ready!(rest.get_mut().as_mut().poll_frame(context));
                if !matches!(next, Some(Ok(_))) {
                    self.state = State::Empty;
                }
                Poll::Ready(next)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Empty => true,
            State::Held { bytes, trailers } => bytes.is_empty() && trailers.is_none(),
            State::Streamed { ahead, rest } => {
                ahead.is_empty() && rest.try_lock().is_some_and(|rest| rest.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Empty => SizeHint::with_exact(0),
            State::Held { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            // What the source says is a hint to whoever frames the message, so it counts what was read ahead too.
            State::Streamed { ahead, rest } => {
                let read: u64 = ahead.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64).sum();
                let rest = rest.try_lock().map(|rest| rest.size_hint()).unwrap_or_default();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(read));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(read));
                }
                hint
            }
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.state {
            State::Empty => out.write_str("Body(empty)"),
            State::Held { bytes, .. } => write!(out, "Body({} bytes, held)", bytes.len()),
            State::Streamed { .. } => out.write_str("Body(streamed)"),
        }
    }
}
