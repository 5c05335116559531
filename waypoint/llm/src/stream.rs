//! A streamed answer on its way from a provider to a caller.
//!
//! It ends well-formed, whatever happens: a stream that is cut, too long or no stream, a refusal of a guard or of a
//! policy that came meanwhile each become the error event of the caller's API.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use exchange::{
    Body, BodyError, BoxFuture, Exchange, Framer, Judge, Place, Purpose, Register, Trail, sse::Events,
};
use http::StatusCode;
use http_body::{Body as _, Frame};
use mesh::{Denial, Facts};

use crate::{
    account::Account,
    error,
    operation::Dialect,
    turn::{Broken, Turner, error_event},
};

/// Most events that are passed over before something of the answer comes.
const EVENTS_BEFORE_MAX: usize = 10_000;

/// Bounds of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub event_bytes_max: usize,
    pub stream_bytes_max: u64,
}

/// The policies of a stream, which speak for as long as it runs.
pub(crate) struct Standing {
    judge: Arc<dyn Judge>,
    register: Arc<dyn Register>,
    places: Vec<Place>,
    facts: Arc<Facts>,
    trail: Trail,
}

impl Standing {
    pub(crate) fn of(exchange: &Exchange, facts: &Arc<Facts>) -> Self {
        Self {
            judge: Arc::clone(&exchange.judge),
            register: Arc::clone(&exchange.register),
            places: exchange.places.iter().cloned().chain(exchange.trail.places()).collect(),
            facts: Arc::clone(facts),
            trail: exchange.trail.clone(),
        }
    }

    fn refused(&self, denial: &Denial) -> Arc<str> {
        let id = self.register.refused(denial, &self.facts, &self.trail);
        self.trail.refused(denial, &id);
        id
    }

    fn again(&self) -> Result<(), Denial> {
        self.places.iter().try_for_each(|place| self.judge.judge(place, &self.facts, Purpose::Again))
    }
}

pub(crate) struct Stream {
    source: Body,
    framer: Events,
    turner: Turner,
    caller: Dialect,
    account: Account,
    standing: Standing,
    bounds: Bounds,
    key: Option<Arc<str>>,
    closed: BoxFuture<'static, Arc<Denial>>,
    seen: u64,
    changed: BoxFuture<'static, ()>,
    ready: VecDeque<Bytes>,
    bytes: u64,
    events: usize,
    over: bool,
    // Why it ended, if not by itself. Before the answer begins this is the caller's to say.
    broken: Option<Broken>,
    begun: bool,
    // Until the first of the answer has come.
    first: Option<First>,
}

/// How long the first of an answer is waited for.
pub(crate) struct First {
    pub began: Instant,
    pub now: fn() -> Instant,
}

impl Stream {
    #[allow(clippy::too_many_arguments, reason = "each is a part of one stream and nothing else")]
    pub(crate) fn new(
        source: Body,
        turner: Turner,
        caller: Dialect,
        account: Account,
        standing: Standing,
        bounds: Bounds,
        key: Option<Arc<str>>,
        closed: BoxFuture<'static, Arc<Denial>>,
        first: First,
    ) -> Self {
        let seen = standing.judge.generation();
        let changed = standing.judge.changed(seen);
        Self {
            source,
            framer: Events::new(bounds.event_bytes_max),
            turner,
            caller,
            account,
            standing,
            bounds,
            key,
            closed,
            seen,
            changed,
            ready: VecDeque::new(),
            bytes: 0,
            events: 0,
            over: false,
            broken: None,
            begun: false,
            first: Some(first),
        }
    }

    /// Reads until something of the answer has come. Nothing was sent to the caller until then.
    ///
    /// # Errors
    /// When the stream breaks, or ends, before.
    pub(crate) async fn begin(&mut self) -> Result<(), Broken> {
        while !self.turner.begun && !self.over {
            std::future::poll_fn(|context| self.poll_advance(context)).await;
            if self.events > EVENTS_BEFORE_MAX {
                return Err(Broken::Malformed("it says nothing".to_owned()));
            }
        }
        match self.broken.take() {
            // What came before the break may be passed on only if the answer had begun.
            Some(broken) if !self.turner.begun || matches!(broken, Broken::Refused(_)) => Err(broken),
            broken => {
                self.begun = true;
                if let Some(broken) = broken {
                    self.say(broken);
                }
                Ok(())
            }
        }
    }

    fn poll_advance(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match ready!(Pin::new(&mut self.source).poll_frame(context)) {
            None => self.source_ended(),
            Some(Err(error)) => self.broke(Broken::Malformed(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.take(data);
                }
            }
        }
        Poll::Ready(())
    }

    fn take(&mut self, data: Bytes) {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        if self.bytes > self.bounds.stream_bytes_max {
            return self.broke(Broken::Malformed("it is longer than it may be".to_owned()));
        }
        self.framer.push(data);
        while !self.over {
            match self.framer.next() {
                Ok(Some(block)) => self.event(&block),
                Ok(None) => break,
                Err(error) => self.broke(Broken::Malformed(error.to_string())),
            }
        }
    }

    fn event(&mut self, block: &Bytes) {
        self.events = self.events.saturating_add(1);
        let hidden = self.hidden(block);
        match self.turner.event(hidden.as_ref().unwrap_or(block)) {
            Ok(frames) => self.ready.extend(frames),
            Err(broken) => return self.broke(broken),
        }
        if self.turner.begun
            && let Some(first) = self.first.take()
        {
            self.account.first_token((first.now)().saturating_duration_since(first.began));
        }
        if self.turner.ended {
            self.complete();
        }
    }

    /// The event without our key, which a provider could repeat.
    fn hidden(&self, block: &Bytes) -> Option<Bytes> {
        let key = self.key.as_deref().filter(|key| !key.is_empty())?;
        let text = std::str::from_utf8(block).ok()?;
        text.contains(key).then(|| Bytes::from(text.replace(key, "(hidden)")))
    }

    fn source_ended(&mut self) {
        if let Ok(Some(block)) = self.framer.finish() {
            self.event(&block);
        }
        if self.over {
            return;
        }
        match self.turner.finish() {
            Ok(frames) => {
                self.ready.extend(frames);
                self.complete();
            }
            Err(broken) => self.broke(broken),
        }
    }

    fn complete(&mut self) {
        self.over = true;
        self.source = Body::empty();
        self.account.answered(self.turner.usage, self.turner.begun);
    }

    fn broke(&mut self, broken: Broken) {
        self.over = true;
        self.source = Body::empty();
        if let Some(usage) = self.turner.final_usage() {
            self.account.answered(Some(usage), self.turner.begun);
        }
        if self.begun { self.say(broken) } else { self.broken = Some(broken) }
    }

    /// Ends the stream with an error event.
    fn say(&mut self, broken: Broken) {
        let (kind, message) = match broken {
            Broken::Refused(denial) => {
                let id = self.standing.refused(&denial);
                let kind = error::kind(self.caller, StatusCode::FORBIDDEN);
                (kind.to_owned(), format!("Refused: {} (id {id})", denial.reason))
            }
            Broken::Malformed(what) => {
                self.standing.trail.failed(what);
                let kind = error::kind(self.caller, StatusCode::BAD_GATEWAY);
                (kind.to_owned(), "The provider broke off".to_owned())
            }
            Broken::Provider { kind, message } => {
                self.standing
                    .trail
                    .failed(format!("the provider broke off: {}", error::shown(&kind, self.key.as_deref())));
                let shown = |text: &str| error::shown(text, self.key.as_deref());
                (shown(&kind), shown(&message))
            }
        };
        self.ready.push_back(error_event(self.caller, &kind, &message));
    }

    fn judged_again(&mut self) {
        match self.standing.again() {
            Ok(()) => {
                self.seen = self.standing.judge.generation();
                self.changed = self.standing.judge.changed(self.seen);
            }
            Err(denial) => self.broke(Broken::Refused(denial)),
        }
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if !this.over {
                if let Poll::Ready(denial) = this.closed.as_mut().poll(context) {
                    this.broke(Broken::Refused(Denial::clone(&denial)));
                } else if this.changed.as_mut().poll(context).is_ready() {
                    this.judged_again();
                    continue;
                }
            }
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            ready!(this.poll_advance(context));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.ready.is_empty()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // The caller left. What was used is settled if it was said; else it counts whole.
        if !self.over
            && let Some(usage) = self.turner.final_usage()
        {
            self.account.answered(Some(usage), self.turner.begun);
        }
    }
}
