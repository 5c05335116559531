//! Sends a copy of a request elsewhere and drops the answer. The copy never holds the original up: a copy that
//! cannot keep pace, or for which there is no room, is given up; so is one that has no allowance where it would go, or
//! that a guard of there would have to read.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use exchange::{
    Ask, Body, BodyError, BoxFuture, Call, Exchange, Filter, Place, Request, Reservation, Step, Trail,
    Upstreams,
};
use http_body::Frame;
use mesh::resource;
use tokio::sync::{Semaphore, mpsc};

/// Copies under way at once.
pub const COPIES_MAX: usize = 256;
/// Frames of one body that wait for a slow copy.
pub const FRAMES_WAITING_MAX: usize = 64;
/// How long a copy may take, answer included.
pub const COPY_TIME_MAX: Duration = Duration::from_secs(30);

/// Sends copies; shared by all mirrors of a program.
#[derive(Clone)]
pub struct Mirrors {
    upstreams: Arc<dyn Upstreams>,
    room: Arc<Semaphore>,
    given_up: Arc<AtomicU64>,
}

impl Mirrors {
    /// Sends copies through these upstreams.
    pub fn new(upstreams: Arc<dyn Upstreams>) -> Self {
        Self { upstreams, room: Arc::new(Semaphore::new(COPIES_MAX)), given_up: Arc::default() }
    }

    /// Copies that were given up so far, for want of room or pace.
    pub fn given_up(&self) -> u64 {
        self.given_up.load(Ordering::Relaxed)
    }

    fn give_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    fn send(&self, call: Call, held: Option<Box<dyn Reservation>>) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return self.give_up() };
        let upstreams = Arc::clone(&self.upstreams);
        tokio::spawn(async move {
            // Whatever comes of it concerns nobody.
            let _ = tokio::time::timeout(COPY_TIME_MAX, upstreams.call(call)).await;
            drop((permit, held));
        });
    }
}

impl std::fmt::Debug for Mirrors {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Mirrors").field("given_up", &self.given_up()).finish_non_exhaustive()
    }
}

/// The filter of one exchange.
#[derive(Debug)]
pub struct Mirror {
    rule: Arc<resource::Mirror>,
    mirrors: Mirrors,
    chance: u64,
}

impl Mirror {
    /// Copies, if `chance` is among the rule's share.
    pub fn new(rule: Arc<resource::Mirror>, mirrors: Mirrors, chance: u64) -> Self {
        Self { rule, mirrors, chance }
    }
}

impl Filter for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let denominator = u64::from(self.rule.denominator.max(1));
        let drawn = self.chance % denominator < u64::from(self.rule.numerator);
        let allowed = if drawn { allowed(exchange, &self.rule) } else { None };
        if drawn && allowed.is_none() {
            self.mirrors.give_up();
        }
        if let Some(held) = allowed {
            let mut copy = Request::default();
            *copy.method_mut() = exchange.request.method().clone();
            *copy.uri_mut() = exchange.request.uri().clone();
            *copy.headers_mut() = exchange.request.headers().clone();
            *copy.body_mut() = match exchange.request.body().again() {
                Some(body) => body,
                None => {
                    let original = std::mem::take(exchange.request.body_mut());
                    let (original, body) = tee(original, self.mirrors.clone());
                    *exchange.request.body_mut() = original;
                    body
                }
            };
            let mut call = exchange.call(self.rule.target.clone(), copy);
            // What becomes of the copy is not what became of the exchange.
            call.trail = Trail::default();
            call.traffic = resource::Traffic::default();
            self.mirrors.send(call, held);
        }
        Box::pin(std::future::ready(Step::Continue))
    }
}

/// Takes a copy from the allowances of where it goes; `None` if it may not go there. What the original meets on its own
/// way has looked at it, and counted it, already.
fn allowed(exchange: &Exchange, rule: &resource::Mirror) -> Option<Option<Box<dyn Reservation>>> {
    let there: Vec<Place> = Place::of(&rule.target).into_iter().collect();
    let way = exchange.way();
    let looked = exchange.known.guards(&way);
    let unread = |guard: &Arc<resource::Guard>| {
        guard.mode == resource::Mode::Enforce && !looked.iter().any(|one| one.name == guard.name)
    };
    if exchange.known.guards(&there).iter().any(unread) {
        return None;
    }
    let counted = exchange.known.quotas(&way);
    let mut quotas = exchange.known.quotas(&there);
    quotas.retain(|quota| !counted.iter().any(|one| one.name == quota.name));
    if quotas.is_empty() {
        return Some(None);
    }
    let ask = Ask { requests: 1, ..Ask::default() };
    exchange.ledger.reserve(&exchange.facts, &quotas, &ask).ok().map(Some)
}

type Copied = Result<Frame<Bytes>, BodyError>;

/// The original, and a copy of it that receives what passes and breaks off where it falls behind.
fn tee(body: Body, mirrors: Mirrors) -> (Body, Body) {
    let (sender, receiver) = mpsc::channel(FRAMES_WAITING_MAX);
    (Body::piped(Original { body, copy: Some(sender), mirrors }), Body::piped(Copy { receiver, over: false }))
}

struct Original {
    body: Body,
    copy: Option<mpsc::Sender<Copied>>,
    mirrors: Mirrors,
}

struct Copy {
    receiver: mpsc::Receiver<Copied>,
    over: bool,
}

impl http_body::Body for Original {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Copied>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let copied = match &polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => match (frame.data_ref(), frame.trailers_ref()) {
                // An empty frame says nothing, and in the copy it would say the end.
                (Some(data), _) if data.is_empty() => return polled,
                (Some(data), _) => Ok(Frame::data(data.clone())),
                (None, Some(trailers)) => Ok(Frame::trailers(trailers.clone())),
                (None, None) => return polled,
            },
            Poll::Ready(Some(Err(error))) => Err(error.clone()),
            Poll::Ready(None) => {
                // The end is said by a frame of its own: a channel that merely closes is a body that was cut.
                Ok(Frame::data(Bytes::new()))
            }
        };
        if let Some(copy) = &self.copy
            && copy.try_send(copied).is_err()
        {
            self.mirrors.give_up();
            self.copy = None;
        }
        // Whoever knows the length asks no further, so the copy is told now.
        if self.body.is_end_stream()
            && let Some(copy) = self.copy.take()
        {
            let _ = copy.try_send(Ok(Frame::data(Bytes::new())));
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

impl http_body::Body for Copy {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Copied>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = self.receiver.poll_recv(context) else { return Poll::Pending };
        match next {
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                self.over = true;
                Poll::Ready(None)
            }
            Some(other) => Poll::Ready(Some(other)),
            None => {
                self.over = true;
                Poll::Ready(Some(Err(BodyError::Cut("the copy fell behind".to_owned()))))
            }
        }
    }
}
