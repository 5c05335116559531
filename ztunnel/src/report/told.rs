//! What is said of a connection: its line in the access log, and its span.

use std::sync::Arc;

use runtime::{Entry, Span, spans::SpanKind};
use transport::relay::{End, Side};
use wire::report::Refusal;

use super::{Outcome, Party, Record, Report};
use crate::connections::Direction;

/// The line of a connection that ended.
pub(super) fn entry(report: &Report, record: &Record, outcome: &Outcome<'_>) -> Entry {
    let mut entry = Entry::new((report.now)(), "connection")
        .field("direction", record.direction.name())
        .maybe("src.workload", workload(&record.source))
        .maybe("src.namespace", namespace(&record.source))
        .field("src.identity", record.source.identity.as_ref().map_or("unknown".into(), ToString::to_string))
        .maybe("src.by", record.by.as_ref())
        .field("dst.asked", &record.asked)
        .maybe("dst.service", record.service.as_ref().map(|(service, _)| &service.hostname))
        .maybe("dst.workload", workload(&record.destination))
        .maybe("dst.namespace", namespace(&record.destination))
        .maybe("dst.identity", record.destination.identity.as_ref())
        .maybe("tunnel", record.tunnel)
        .field("tls", tls(record));
    if let Outcome::Relayed(relayed) | Outcome::Withdrawn(relayed, _) = outcome {
        entry = entry.field("bytes_sent", relayed.sent).field("bytes_received", relayed.received);
    }
    entry = entry.field("duration_ms", record.began.elapsed().as_millis()).field("end", ended(outcome));
    entry = match outcome {
        Outcome::Withdrawn(_, refusal) | Outcome::Refused(refusal) => refused(entry, refusal),
        Outcome::RefusedThere(denied) => entry.field("denied", denied),
        Outcome::Broken(denial) => {
            entry.field("reason", denial.reason).maybe("detail", denial.detail.as_ref())
        }
        Outcome::Relayed(_) | Outcome::Gone => entry,
    };
    entry.field("trace_id", record.context.trace).field("span_id", record.context.span)
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

/// The span of a connection; without an outcome it is open.
pub(super) fn span(report: &Report, record: &Record, outcome: Option<&Outcome<'_>>) -> Span {
    let kind = match record.direction {
        Direction::Inbound => SpanKind::Server,
        Direction::Outbound => SpanKind::Client,
    };
    let mut span = report.spans.span(&record.context, record.parent, kind);
    span.started(record.at);
    let addressed = record.addressed();
    span.named(&format!("{} {addressed}", record.direction.name()));
    span.set("strait.layer", "l4");
    span.set("network.transport", "tcp");
    span.set("strait.source", &*record.source.name());
    span.set("strait.destination", &*addressed);
    span.maybe("strait.source.by", record.by.as_ref());
    span.maybe("strait.source.workload", workload(&record.source));
    span.maybe("strait.destination.workload", workload(&record.destination));
    span.maybe("strait.destination.identity", record.destination.identity.as_ref());
    span.maybe("network.peer.address", record.tunnel.map(|address| address.ip()));
    span.maybe("network.peer.port", record.tunnel.map(|address| address.port()));
    span.set("strait.tls", tls(record));
    let Some(outcome) = outcome else { return span };
    span.set("strait.end", ended(outcome));
    if let Outcome::Relayed(relayed) | Outcome::Withdrawn(relayed, _) = outcome {
        span.set("strait.bytes.sent", relayed.sent);
        span.set("strait.bytes.received", relayed.received);
    }
    match outcome {
        Outcome::Withdrawn(_, refusal) | Outcome::Refused(refusal) => {
            let denial = &refusal.denial;
            span.set("strait.denial.reason", denial.reason.name());
            span.set("strait.denial.id", refusal.id.to_string());
            span.maybe("strait.denial.policy", denial.policy.as_ref().map(|(policy, _)| policy));
            span.failed(denial.reason.name());
        }
        Outcome::RefusedThere(denied) => {
            span.set("strait.denial.there", *denied);
            span.failed(denied);
        }
        Outcome::Broken(denial) => span.failed(denial.reason.name()),
        Outcome::Relayed(_) | Outcome::Gone => {}
    }
    span
}

fn tls(record: &Record) -> &'static str {
    if record.mutual_tls { "mutual" } else { "none" }
}

fn workload(party: &Party) -> Option<Arc<str>> {
    party.workload.as_ref().map(|it| it.name.clone())
}

fn namespace(party: &Party) -> Option<Arc<str>> {
    party.workload.as_ref().map(|it| it.namespace.clone())
}

fn ended(outcome: &Outcome<'_>) -> &'static str {
    match outcome {
        Outcome::Relayed(relayed) => match &relayed.end {
            End::Finished => "finished",
            End::Cancelled => "closed",
            End::Idle => "idle",
            End::Failed { side: Side::First, .. } => "cut-by-source",
            End::Failed { side: Side::Second, .. } => "cut-by-destination",
        },
        Outcome::Withdrawn(..) => "withdrawn",
        Outcome::Refused(_) => "refused",
        Outcome::RefusedThere(_) => "refused-there",
        Outcome::Broken(_) => "broken",
        Outcome::Gone => "gone",
    }
}
