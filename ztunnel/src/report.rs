//! Where every connection is told of: counts and a span from its opening on; at its end one line in the access log,
//! and, if it was refused, a refusal with an id.

mod decided;
mod metrics;
mod told;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Instant, SystemTime},
};

use mesh::{Denial, Identity, access::Judgement, names::ServiceKey, resource::Workload};
use runtime::{
    AccessLog, Spans, TraceContext,
    metrics::{Metered, Meters},
    spans::Open,
    trace::SpanId,
};
use transport::relay::{Counts, Relayed};
use wire::report::{Refusal, Refusals, Reporter, Subject};

use crate::connections::Direction;
pub(crate) use metrics::Metrics;

/// What is known of one connection, filled in as it becomes known.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) direction: Direction,
    began: Instant,
    /// Who opened it, as far as is proven.
    pub(crate) source: Party,
    /// Who serves it.
    pub(crate) destination: Party,
    /// Who vouched for the source.
    pub(crate) by: Option<Identity>,
    /// What was asked for, as it was said.
    pub(crate) asked: Arc<str>,
    /// The service that it was, if it was one.
    pub(crate) service: Option<(ServiceKey, u16)>,
    /// Where the tunnel leads or comes from.
    pub(crate) tunnel: Option<SocketAddr>,
    /// Its place in the trace of the connection, hop by hop.
    pub(crate) context: TraceContext,
    /// The hop before.
    parent: Option<SpanId>,
    /// When it began.
    at: SystemTime,
    /// False: it goes on in plaintext.
    pub(crate) mutual_tls: bool,
    /// From its opening to its end.
    running: Option<Arc<Running>>,
}

/// What is kept up while a connection is open.
#[derive(Debug)]
struct Running {
    _metered: Arc<Metered>,
    _open: Open,
}

/// One end of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Party {
    pub(crate) workload: Option<Arc<Workload>>,
    pub(crate) identity: Option<Identity>,
}

impl Party {
    /// A workload under its own identity.
    pub(crate) fn of(workload: &Arc<Workload>) -> Self {
        Self { workload: Some(workload.clone()), identity: Some(workload.identity.clone()) }
    }

    fn name(&self) -> Arc<str> {
        match (&self.identity, &self.workload) {
            (Some(identity), _) => identity.to_string().into(),
            (None, Some(workload)) => workload.uid.as_str().into(),
            (None, None) => "unknown".into(),
        }
    }
}

impl Record {
    /// The service with its port, if it was one, else what was said.
    fn addressed(&self) -> Arc<str> {
        match &self.service {
            Some((service, port)) => format!("{}:{port}", service.hostname).into(),
            None => self.asked.clone(),
        }
    }

    fn subject(&self) -> Subject {
        let by = self.by.as_ref().map(|by| by.to_string().into());
        Subject {
            source: self.source.name(),
            by,
            destination: self.asked.clone(),
            operation: None,
            trace: Some(self.context.trace.to_string().into()),
        }
    }
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// It was relayed until it ended.
    Relayed(&'a Relayed),
    /// It was relayed until it was no longer allowed.
    Withdrawn(&'a Relayed, &'a Refusal),
    /// It was refused here.
    Refused(&'a Refusal),
    /// It was refused at the other end, which said so.
    RefusedThere(&'a str),
    /// It did not become a tunnel.
    Broken(&'a Denial),
    /// Who opened it went away before it was made.
    Gone,
}

/// Turns outcomes into lines and counts. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) log: AccessLog,
    pub(crate) refusals: Refusals,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    pub(crate) meters: Meters,
    pub(crate) spans: Spans,
    pub(crate) now: fn() -> SystemTime,
}

impl Report {
    /// A connection that begins now; `trace` is what the hop before said.
    pub(crate) fn begin(
        &self,
        direction: Direction,
        asked: impl Into<Arc<str>>,
        trace: Option<&str>,
    ) -> Record {
        // What cannot be read is no trace, and one of its own begins.
        let parent = trace.and_then(TraceContext::parse);
        Record {
            direction,
            began: Instant::now(),
            source: Party::default(),
            destination: Party::default(),
            by: None,
            asked: asked.into(),
            service: None,
            tunnel: None,
            context: self.spans.begin(parent.as_ref()),
            parent: parent.map(|parent| parent.span),
            at: (self.now)(),
            mutual_tls: true,
            running: None,
        }
    }

    /// Gives a denial its id, keeps and counts it.
    pub(crate) fn refuse(&self, record: &Record, denial: Denial) -> Arc<Refusal> {
        self.metrics.refused(record, &denial);
        self.reporter.decided(decided::refused(record, &denial), (self.now)());
        self.refusals.refuse(denial, record.subject(), (self.now)())
    }

    /// Counts a judgement that granted, and what policies in audit mode would have done.
    pub(crate) fn judged(&self, record: &Record, judgement: &Judgement) {
        self.metrics.judged(record, judgement);
        for key in decided::judged(record, judgement) {
            self.reporter.decided(key, (self.now)());
        }
    }

    /// A connection carries bytes from now on, which are counted there.
    pub(crate) fn opened(&self, record: &mut Record, counts: &Arc<Counts>) {
        let (sent, received) = self.metrics.opened(record);
        let moved = counts.clone();
        // What the source sends, the destination receives.
        let metered = self.meters.meter(sent, received, move || {
            (moved.received.load(Ordering::Relaxed), moved.sent.load(Ordering::Relaxed))
        });
        let open = self.spans.open(told::span(self, record, None));
        record.running = Some(Arc::new(Running { _metered: metered, _open: open }));
    }

    /// A connection ended.
    pub(crate) fn ended(&self, mut record: Record, outcome: &Outcome<'_>) {
        // Counts what is left, and is open no more.
        record.running = None;
        match outcome {
            Outcome::Relayed(_) | Outcome::Withdrawn(..) => self.metrics.closed(&record),
            Outcome::Broken(denial) => self.metrics.refused(&record, denial),
            Outcome::Refused(_) | Outcome::RefusedThere(_) | Outcome::Gone => {}
        }
        self.log.write(told::entry(self, &record, outcome));
        // Who did not even open a tunnel is nobody: strangers do not push out the spans of others.
        if !matches!(outcome, Outcome::Broken(_)) {
            self.spans.finish(told::span(self, &record, Some(outcome)), record.began.elapsed());
        }
    }
}

/// What `x-strait-denied` says of a refusal.
pub(crate) fn denied(refusal: &Refusal) -> String {
    format!("id={}; reason={}", refusal.id, refusal.denial.reason)
}

#[cfg(test)]
mod testing;
