//! What the control plane is told of decisions, by the minute.

use std::sync::Arc;

use mesh::{
    Denial,
    access::{Grant, Judgement, Verdict},
};
use wire::report::{Asked, DecisionKey, Verdict as Told};

use super::Record;

/// A connection was refused.
pub(super) fn refused(record: &Record, denial: &Denial) -> DecisionKey {
    let policy = denial.policy.as_ref().map(|(policy, _)| policy.to_string());
    key(record, Told::Refused, denial.reason.name(), policy, denial.rule.as_ref())
}

/// What a judgement that granted decided, and what policies in audit mode would have.
pub(super) fn judged(record: &Record, judgement: &Judgement) -> Vec<DecisionKey> {
    let granted = match &judgement.verdict {
        Verdict::Granted(Grant::Rule { policy, rule, .. }) => {
            Some(key(record, Told::Granted, "", Some(policy.to_string()), Some(rule)))
        }
        Verdict::Granted(Grant::Default) => Some(key(record, Told::Granted, "", None, None)),
        // It is told with the refusal, for nobody is asked at layer 4.
        Verdict::Conditional(..) | Verdict::Refused(_) => None,
    };
    let shadows = judgement.shadows.iter().map(|shadow| {
        let (verdict, reason) = match &shadow.denial {
            Some(denial) => (Told::WouldRefuse, denial.reason.name()),
            None => (Told::WouldGrant, ""),
        };
        key(record, verdict, reason, Some(shadow.policy.to_string()), shadow.rule.as_ref())
    });
    granted.into_iter().chain(shadows).collect()
}

fn key(
    record: &Record,
    verdict: Told,
    reason: &str,
    policy: Option<String>,
    rule: Option<&Arc<str>>,
) -> DecisionKey {
    let place = if record.service.is_some() { "service" } else { "workload" };
    DecisionKey {
        verdict,
        reason: reason.into(),
        policy: policy.unwrap_or_default().into(),
        rule: rule.cloned().unwrap_or_default(),
        source: record.source.name(),
        destination: record.addressed(),
        asked: Asked {
            place: place.into(),
            port: record.service.as_ref().map_or(0, |(_, port)| *port),
            // Whoever is held is inside; of others nothing is known here.
            address: if record.source.workload.is_some() { "inside".into() } else { Arc::default() },
            protocol: "tcp".into(),
            ..Asked::default()
        },
    }
}
