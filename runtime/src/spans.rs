//! Spans: what a hop did for one request or connection, when, for how long, and on behalf of which other span.
//!
//! The latest are kept in a ring, whatever is exported. Those that stay open are told when they have been open for a
//! while, so that one can see what still runs. Nothing here waits.

mod ring;
pub(crate) mod span;

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use prometheus_client::{metrics::counter::Counter, registry::Registry};

pub use span::{
    ATTRIBUTES_MAX, Attributes, LINKS_MAX, Link, NAME_BYTES_MAX, Span, SpanKind, VALUE_BYTES_MAX, Value,
};

use crate::{
    otlp::Export,
    trace::{SpanId, TraceContext, TraceId},
};
use ring::Ring;

/// Finished spans that a proxy keeps.
pub const KEPT_MAX: usize = 4096;
/// Open spans that are known; of others one learns at their end.
pub const OPEN_MAX: usize = 4096;
/// Spans that are handed on in one second; more are kept here only, and counted.
pub const TOLD_PER_SECOND_MAX: u32 = 500;

/// Takes a copy of each span, towards the control plane.
pub type Upward = Arc<dyn Fn(&Arc<Span>) + Send + Sync>;

/// The spans of one proxy. Clones share them.
#[derive(Clone)]
pub struct Spans {
    shared: Arc<Shared>,
}

struct Shared {
    proxy: Arc<str>,
    chance: fn() -> u64,
    now: fn() -> SystemTime,
    up: Option<Upward>,
    export: Option<Export>,
    kept: Mutex<Kept>,
    finished: Counter,
    untold: Counter,
}

struct Kept {
    ring: Ring,
    open: HashMap<SpanId, (Arc<Span>, bool)>,
    /// The second in which was told, and how many.
    told: (u64, u32),
}

impl fmt::Debug for Spans {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Spans").field("proxy", &self.shared.proxy).finish_non_exhaustive()
    }
}

impl Spans {
    /// None yet, of the proxy of this name.
    pub fn new(
        proxy: impl Into<Arc<str>>,
        chance: fn() -> u64,
        now: fn() -> SystemTime,
        up: Option<Upward>,
        export: Option<Export>,
    ) -> Self {
        let kept = Kept { ring: Ring::new(KEPT_MAX), open: HashMap::new(), told: (0, 0) };
        let shared = Shared {
            proxy: proxy.into(),
            chance,
            now,
            up,
            export,
            kept: Mutex::new(kept),
            finished: Counter::default(),
            untold: Counter::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Registers what is counted.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("strait_spans", "Spans that ended", self.shared.finished.clone());
        registry.register(
            "strait_spans_untold",
            "Spans that were kept here only, because too many ended in one second",
            self.shared.untold.clone(),
        );
        if let Some(export) = &self.shared.export {
            export.register(registry);
        }
    }

    /// A place of our own in the caller's trace, or in a new one.
    pub fn begin(&self, parent: Option<&TraceContext>) -> TraceContext {
        let chance = self.shared.chance;
        let span = SpanId::of_chance(chance());
        match parent {
            Some(parent) => TraceContext { span, ..parent.clone() },
            None => {
                let trace = TraceId::of_chance(chance(), chance());
                TraceContext { trace, span, sampled: self.samples(trace), state: None }
            }
        }
    }

    /// Whether a trace that begins here is exported: decided by its id, so that everybody decides alike.
    pub fn samples(&self, trace: TraceId) -> bool {
        self.shared.export.as_ref().is_some_and(|export| export.samples(trace))
    }

    /// A span that begins now at this place; it is not kept before it is opened or finished.
    pub fn span(&self, context: &TraceContext, parent: Option<SpanId>, kind: SpanKind) -> Span {
        let start = (self.shared.now)().duration_since(UNIX_EPOCH).unwrap_or_default();
        Span {
            trace: context.trace,
            id: context.span,
            parent,
            links: Vec::new(),
            name: String::new(),
            kind,
            proxy: Arc::clone(&self.shared.proxy),
            start: u64::try_from(start.as_micros()).unwrap_or(u64::MAX),
            duration: None,
            attributes: Attributes::default(),
            error: None,
            sampled: context.sampled,
        }
    }

    /// Makes a span known while it is open.
    pub fn open(&self, span: Span) -> Open {
        let id = span.id;
        let mut kept = self.shared.kept.lock();
        if kept.open.len() < OPEN_MAX {
            kept.open.insert(id, (Arc::new(span), false));
        }
        Open { spans: self.clone(), id }
    }

    /// A span ended.
    pub fn finish(&self, mut span: Span, duration: Duration) {
        span.duration = Some(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        let span = Arc::new(span);
        let shared = &self.shared;
        shared.finished.inc();
        let mut kept = shared.kept.lock();
        kept.ring.push(Arc::clone(&span));
        let room = shared.up.is_some() && kept.room((shared.now)());
        drop(kept);
        self.hand_on(&span, room);
        if let (Some(export), true) = (&shared.export, span.sampled) {
            export.send(span);
        }
    }

    /// Tells of the spans that have been open for `age` and were not told of, and returns them.
    pub fn tell_open(&self, age: Duration) -> Vec<Arc<Span>> {
        let now = (self.shared.now)();
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let before = u64::try_from(since).unwrap_or(u64::MAX).saturating_sub(age);
        let mut kept = self.shared.kept.lock();
        let mut old = Vec::new();
        for (span, told) in kept.open.values_mut() {
            if !*told && span.start <= before {
                *told = true;
                old.push(Arc::clone(span));
            }
        }
        let rooms: Vec<bool> = old.iter().map(|_| self.shared.up.is_some() && kept.room(now)).collect();
        drop(kept);
        for (span, room) in old.iter().zip(rooms) {
            self.hand_on(span, room);
        }
        old
    }

    /// The latest, newest first, open ones included.
    pub fn latest(&self, most: usize) -> Vec<Arc<Span>> {
        let kept = self.shared.kept.lock();
        let mut open: Vec<_> = kept.open.values().map(|(span, _)| Arc::clone(span)).collect();
        open.sort_by_key(|span| std::cmp::Reverse(span.start));
        open.into_iter().chain(kept.ring.latest()).take(most).collect()
    }

    /// Those of a trace, open ones included.
    pub fn of(&self, trace: TraceId) -> Vec<Arc<Span>> {
        let kept = self.shared.kept.lock();
        let open = kept.open.values().map(|(span, _)| Arc::clone(span));
        open.chain(kept.ring.latest()).filter(|span| span.trace == trace).collect()
    }

    fn hand_on(&self, span: &Arc<Span>, room: bool) {
        match &self.shared.up {
            Some(up) if room => up(span),
            Some(_) => drop(self.shared.untold.inc()),
            None => {}
        }
    }
}

impl Kept {
    fn room(&mut self, now: SystemTime) -> bool {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.told.0 != second {
            self.told = (second, 0);
        }
        let room = self.told.1 < TOLD_PER_SECOND_MAX;
        self.told.1 += u32::from(room);
        room
    }
}

/// A span that is open; dropped: it is no longer.
#[derive(Debug)]
pub struct Open {
    spans: Spans,
    id: SpanId,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.spans.shared.kept.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
