//! Where every connection ends: one line in the access log, counts, and, if it was refused, a refusal with an id.

mod metrics;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use mesh::{
    Denial, Identity,
    access::{Grant, Judgement, Verdict},
    names::ServiceKey,
    resource::Workload,
};
use runtime::{AccessLog, Entry};
use transport::relay::{End, Relayed, Side};
use wire::report::{DecisionKey, Refusal, Refusals, Reporter, Subject};

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
    /// The same at both ends.
    pub(crate) trace: Option<Arc<str>>,
    /// False: it goes on in plaintext.
    pub(crate) mutual_tls: bool,
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
    /// A connection that begins now.
    pub(crate) fn new(direction: Direction, asked: impl Into<Arc<str>>) -> Self {
        Self {
            direction,
            began: Instant::now(),
            source: Party::default(),
            destination: Party::default(),
            by: None,
            asked: asked.into(),
            service: None,
            tunnel: None,
            trace: None,
            mutual_tls: true,
        }
    }

    /// The service with its port, if it was one, else what was said.
    fn addressed(&self) -> Arc<str> {
        match &self.service {
            Some((service, port)) => format!("{}:{port}", service.hostname).into(),
            None => self.asked.clone(),
        }
    }

    fn subject(&self) -> Subject {
        let by = self.by.as_ref().map(|by| by.to_string().into());
        Subject { source: self.source.name(), by, destination: self.asked.clone(), operation: None }
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
    pub(crate) now: fn() -> SystemTime,
}

impl Report {
    /// Gives a denial its id, keeps and counts it.
    pub(crate) fn refuse(&self, record: &Record, denial: Denial) -> Arc<Refusal> {
        self.metrics.refused(record, &denial);
        self.decided(record, wire::report::Verdict::Refused, Some(&denial), None);
        self.refusals.refuse(denial, record.subject(), (self.now)())
    }

    /// Counts a judgement that granted, and what policies in audit mode would have done.
    pub(crate) fn judged(&self, record: &Record, judgement: &Judgement) {
        if let Verdict::Granted(grant) = &judgement.verdict {
            self.metrics.granted(record, grant);
            self.decided(record, wire::report::Verdict::Granted, None, Some(grant));
        }
        for shadow in &judgement.shadows {
            self.metrics.shadowed(record, shadow);
            let verdict = match &shadow.denial {
                Some(_) => wire::report::Verdict::WouldRefuse,
                None => wire::report::Verdict::WouldGrant,
            };
            let key = DecisionKey {
                verdict,
                reason: shadow.denial.as_ref().map_or("", |denial| denial.reason.name()).into(),
                policy: shadow.policy.to_string().into(),
                rule: shadow.rule.clone().unwrap_or_else(|| "".into()),
                source: record.source.name(),
                destination: record.addressed(),
            };
            self.reporter.decided(key, (self.now)());
        }
    }

    fn decided(
        &self,
        record: &Record,
        verdict: wire::report::Verdict,
        denial: Option<&Denial>,
        grant: Option<&Grant>,
    ) {
        let (policy, rule) = match (denial, grant) {
            (Some(denial), _) => {
                (denial.policy.as_ref().map(|(policy, _)| policy.to_string()), denial.rule.clone())
            }
            (None, Some(Grant::Rule { policy, rule, .. })) => (Some(policy.to_string()), Some(rule.clone())),
            _ => (None, None),
        };
        let key = DecisionKey {
            verdict,
            reason: denial.map_or("", |denial| denial.reason.name()).into(),
            policy: policy.unwrap_or_default().into(),
            rule: rule.unwrap_or_else(|| "".into()),
            source: record.source.name(),
            destination: record.addressed(),
        };
        self.reporter.decided(key, (self.now)());
    }

    /// A connection carries bytes from now on.
    pub(crate) fn opened(&self, record: &Record) {
        self.metrics.opened(record);
    }

    /// A connection ended.
    pub(crate) fn ended(&self, record: &Record, outcome: &Outcome<'_>) {
        match outcome {
            Outcome::Relayed(relayed) | Outcome::Withdrawn(relayed, _) => {
                self.metrics.closed(record, relayed)
            }
            Outcome::Broken(denial) => self.metrics.refused(record, denial),
            Outcome::Refused(_) | Outcome::RefusedThere(_) | Outcome::Gone => {}
        }
        self.log.write(self.entry(record, outcome));
    }

    fn entry(&self, record: &Record, outcome: &Outcome<'_>) -> Entry {
        let workload = |party: &Party| party.workload.as_ref().map(|it| it.name.clone());
        let namespace = |party: &Party| party.workload.as_ref().map(|it| it.namespace.clone());
        let mut entry = Entry::new((self.now)(), "connection")
            .field("direction", record.direction.name())
            .maybe("src.workload", workload(&record.source))
            .maybe("src.namespace", namespace(&record.source))
            .field(
                "src.identity",
                record.source.identity.as_ref().map_or("unknown".into(), ToString::to_string),
            )
            .maybe("src.by", record.by.as_ref())
            .field("dst.asked", &record.asked)
            .maybe("dst.service", record.service.as_ref().map(|(service, _)| &service.hostname))
            .maybe("dst.workload", workload(&record.destination))
            .maybe("dst.namespace", namespace(&record.destination))
            .maybe("dst.identity", record.destination.identity.as_ref())
            .maybe("tunnel", record.tunnel)
            .field("tls", if record.mutual_tls { "mutual" } else { "none" });
        if let Outcome::Relayed(relayed) | Outcome::Withdrawn(relayed, _) = outcome {
            entry = entry.field("bytes_sent", relayed.sent).field("bytes_received", relayed.received);
        }
        entry = entry.field("duration_ms", record.began.elapsed().as_millis());
        entry = match outcome {
            Outcome::Relayed(relayed) => entry.field("end", end(&relayed.end)),
            Outcome::Withdrawn(_, refusal) => refused(entry.field("end", "withdrawn"), refusal),
            Outcome::Refused(refusal) => refused(entry.field("end", "refused"), refusal),
            Outcome::RefusedThere(denied) => entry.field("end", "refused-there").field("denied", denied),
            Outcome::Broken(denial) => entry
                .field("end", "broken")
                .field("reason", denial.reason)
                .maybe("detail", denial.detail.as_ref()),
            Outcome::Gone => entry.field("end", "gone"),
        };
        entry.maybe("trace", record.trace.as_ref())
    }
}

fn refused(entry: Entry, refusal: &Refusal) -> Entry {
    let denial = &refusal.denial;
    entry
        .field("reason", denial.reason)
        .field("id", refusal.id)
        .maybe("policy", denial.policy.as_ref().map(|(policy, _)| policy))
        .maybe("rule", denial.rule.as_ref())
        .maybe("detail", denial.detail.as_ref())
}

fn end(end: &End) -> &'static str {
    match end {
        End::Finished => "finished",
        End::Cancelled => "closed",
        End::Idle => "idle",
        End::Failed { side: Side::First, .. } => "cut-by-source",
        End::Failed { side: Side::Second, .. } => "cut-by-destination",
    }
}

/// What `x-strait-denied` says of a refusal.
pub(crate) fn denied(refusal: &Refusal) -> String {
    format!("id={}; reason={}", refusal.id, refusal.denial.reason)
}
