//! Counts decisions: what was granted and refused, by which policy, and what a policy in audit would have refused.

use std::{sync::Arc, time::SystemTime};

use exchange::Place;
use mesh::{
    Denial, Facts, Reason,
    access::{self, Grant, Judgement},
    names::ObjectName,
};
use prometheus_client::{encoding::EncodeLabelSet, metrics::counter::Counter, registry::Registry};
use runtime::metrics::{Bounded, LabelText, LabelValues, OTHER, Series};
use wire::report::{Asked, DecisionKey, Reporter, Verdict};

use super::{
    agents::SERIES_MAX,
    asked::{asked, protocol},
};

/// Most callers that are counted by name; others count as `other`.
pub(super) const CALLERS_MAX: usize = 1000;

/// Reasons of judgements.
const JUDGED: [Reason; 7] = [
    Reason::Denied,
    Reason::NoGrant,
    Reason::BeyondLimit,
    Reason::IdentityUnknown,
    Reason::NotOfTheMesh,
    Reason::PolicyBroken,
    Reason::PolicyMissing,
];

/// Counts decisions. Clones are the same.
#[derive(Debug, Clone)]
pub struct Decisions {
    counts: Series<Labels, Counter>,
    callers: Arc<LabelValues>,
    up: Option<(Reporter, fn() -> SystemTime)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    verdict: &'static str,
    mode: &'static str,
    reason: &'static str,
    policy: LabelText,
    rule: LabelText,
    source_workload: LabelText,
    destination_service: LabelText,
    protocol: &'static str,
}

impl Labels {
    fn key(&self, verdict: Verdict, destination: &str, asked: Asked) -> DecisionKey {
        DecisionKey {
            verdict,
            reason: self.reason.into(),
            policy: self.policy.as_str().into(),
            rule: self.rule.as_str().into(),
            source: self.source_workload.as_str().into(),
            destination: destination.into(),
            asked,
        }
    }
}

impl Bounded for Labels {
    fn other(&self) -> Self {
        Self {
            policy: OTHER.into(),
            rule: OTHER.into(),
            source_workload: OTHER.into(),
            destination_service: OTHER.into(),
            ..self.clone()
        }
    }
}

impl Decisions {
    /// Counts here, and for the control plane by the minute if `up` is given.
    pub fn new(up: Option<(Reporter, fn() -> SystemTime)>) -> Self {
        Self {
            counts: Series::new(SERIES_MAX, Counter::default),
            callers: Arc::new(LabelValues::new(CALLERS_MAX)),
            up,
        }
    }

    /// Registers the counter.
    pub fn register(&self, registry: &mut Registry) {
        self.counts.register("strait_decisions", "Decisions of access policies", registry);
    }

    /// Counts one judgement.
    pub fn count(&self, place: &Place, facts: &Facts, judgement: &Judgement) {
        let labels = |verdict, mode, reason, policy: &str, rule: &str| Labels {
            verdict,
            mode,
            reason,
            policy: policy.into(),
            rule: rule.into(),
            source_workload: self.caller(facts),
            destination_service: destination(place),
            protocol: protocol(facts),
        };
        let count = |labels: Labels, verdict| {
            self.counts.get(&labels).inc();
            if let Some((reporter, now)) = &self.up {
                let asked = asked(kind(place), facts);
                reporter.decided(labels.key(verdict, &full(place), asked), now());
            }
        };
        match &judgement.verdict {
            access::Verdict::Granted(Grant::Rule { policy, rule, .. })
            | access::Verdict::Conditional(Grant::Rule { policy, rule, .. }, _) => {
                count(labels("granted", "enforce", "", &policy.to_string(), rule), Verdict::Granted);
            }
            access::Verdict::Granted(Grant::Default) | access::Verdict::Conditional(Grant::Default, _) => {
                count(labels("granted", "enforce", "Default", "", ""), Verdict::Granted);
            }
            access::Verdict::Refused(denial) => {
                let policy = denial.policy.as_ref().map(|(policy, _)| policy.to_string()).unwrap_or_default();
                let rule = denial.rule.as_deref().unwrap_or_default();
                count(labels("refused", "enforce", denial.reason.name(), &policy, rule), Verdict::Refused);
            }
        }
        for shadow in &judgement.shadows {
            let (verdict, reason, up) = match &shadow.denial {
                Some(denial) => ("refused", denial.reason.name(), Verdict::WouldRefuse),
                None => ("granted", "", Verdict::WouldGrant),
            };
            let rule = shadow.rule.as_deref().unwrap_or_default();
            count(labels(verdict, "audit", reason, &shadow.policy.to_string(), rule), up);
        }
    }

    /// Counts what a policy in audit that is no access policy would have decided where this was addressed.
    pub(super) fn audited(
        &self,
        policy: &ObjectName,
        refusal: Option<&Denial>,
        facts: &Facts,
        addressed: Option<&Place>,
    ) {
        let (verdict, reason, up) = match refusal {
            Some(denial) => ("refused", denial.reason.name(), Verdict::WouldRefuse),
            None => ("granted", "", Verdict::WouldGrant),
        };
        let labels = Labels {
            verdict,
            mode: "audit",
            reason,
            policy: policy.to_string().as_str().into(),
            rule: refusal.and_then(|denial| denial.rule.as_deref()).unwrap_or_default().into(),
            source_workload: self.caller(facts),
            destination_service: addressed.map_or_else(|| "unknown".into(), destination),
            protocol: protocol(facts),
        };
        self.counts.get(&labels).inc();
        if let Some((reporter, now)) = &self.up {
            let asked = asked(addressed.map_or("", kind), facts);
            let to = addressed.map(full).unwrap_or_default();
            reporter.decided(labels.key(up, &to, asked), now());
        }
    }

    /// Counts a refusal that no policy decided: what is malformed or too much, or leads nowhere. Those of policies
    /// were counted when they were judged.
    pub(super) fn refused(&self, denial: &Denial, facts: &Facts) {
        if !JUDGED.contains(&denial.reason) {
            self.count_refused(denial.reason, self.caller(facts), protocol(facts), asked("", facts));
        }
    }

    /// Counts a connection that did not become a tunnel.
    pub fn handshake_failed(&self) {
        self.count_refused(Reason::HandshakeFailed, "unknown".into(), "tcp", Asked::default());
    }

    fn count_refused(
        &self,
        reason: Reason,
        source_workload: LabelText,
        protocol: &'static str,
        asked: Asked,
    ) {
        let labels = Labels {
            verdict: "refused",
            mode: "enforce",
            reason: reason.name(),
            policy: "".into(),
            rule: "".into(),
            source_workload,
            destination_service: "unknown".into(),
            protocol,
        };
        self.counts.get(&labels).inc();
        if let Some((reporter, now)) = &self.up {
            let destination = match &*asked.host {
                "" => String::new(),
                host => format!("{host}:{}", asked.port),
            };
            reporter.decided(labels.key(Verdict::Refused, &destination, asked), now());
        }
    }

    // Only proven identities have a name of their own, and only so many.
    pub(super) fn caller(&self, facts: &Facts) -> LabelText {
        match facts.caller.workload.verified() {
            Some(identity) => {
                let name = identity.to_string();
                self.callers.admit(&name);
                self.callers.of(&name)
            }
            None => "unknown".into(),
        }
    }
}

fn destination(place: &Place) -> LabelText {
    let text = match place {
        Place::Listener { gateway, listener } => format!("{gateway}/{listener}"),
        Place::Route(name) | Place::Agent(name) => name.to_string(),
        Place::Service { service, .. } => service.hostname.to_string(),
        Place::Workload { workload, .. } => workload.to_string(),
    };
    text.as_str().into()
}

/// What stands at a place.
fn kind(place: &Place) -> &'static str {
    match place {
        Place::Listener { .. } => "listener",
        Place::Route(_) => "route",
        Place::Service { .. } => "service",
        Place::Agent(_) => "backend",
        Place::Workload { .. } => "workload",
    }
}

/// A place, with its port.
fn full(place: &Place) -> String {
    match place {
        Place::Service { service, port } => format!("{}:{port}", service.hostname),
        Place::Workload { workload, port } => format!("{workload}:{port}"),
        Place::Listener { .. } | Place::Route(_) | Place::Agent(_) => destination(place).as_str().to_owned(),
    }
}
