//! Counts decisions: what was granted and refused, by which policy, and what a policy in audit would have refused.

use std::sync::Arc;

use exchange::Place;
use mesh::{
    Facts,
    access::{Grant, Judgement, Verdict},
    facts::Fact,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use runtime::metrics::{LabelText, LabelValues};

/// Most callers that are counted by name; others count as `other`.
pub(super) const CALLERS_MAX: usize = 1000;

/// Counts decisions. Clones are the same.
#[derive(Debug, Clone)]
pub struct Decisions {
    counts: Family<Labels, Counter>,
    callers: Arc<LabelValues>,
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

impl Default for Decisions {
    fn default() -> Self {
        Self { counts: Family::default(), callers: Arc::new(LabelValues::new(CALLERS_MAX)) }
    }
}

impl Decisions {
    /// Registers the counter.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("strait_decisions", "Decisions of access policies", self.counts.clone());
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
        let main = match &judgement.verdict {
            Verdict::Granted(Grant::Rule { policy, rule, .. }) => {
                labels("granted", "enforce", "", &policy.to_string(), rule)
            }
            Verdict::Granted(Grant::Default) => labels("granted", "enforce", "Default", "", ""),
            Verdict::Refused(denial) => {
                let policy = denial.policy.as_ref().map(|(policy, _)| policy.to_string()).unwrap_or_default();
                let rule = denial.rule.as_deref().unwrap_or_default();
                labels("refused", "enforce", denial.reason.name(), &policy, rule)
            }
        };
        self.counts.get_or_create(&main).inc();
        for shadow in &judgement.shadows {
            let (verdict, reason) = match &shadow.denial {
                Some(denial) => ("refused", denial.reason.name()),
                None => ("granted", ""),
            };
            let rule = shadow.rule.as_deref().unwrap_or_default();
            self.counts
                .get_or_create(&labels(verdict, "audit", reason, &shadow.policy.to_string(), rule))
                .inc();
        }
    }

    // Only proven identities have a name of their own, and only so many.
    fn caller(&self, facts: &Facts) -> LabelText {
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

fn protocol(facts: &Facts) -> &'static str {
    match (&facts.mcp, &facts.http) {
        (Fact::Known(_), _) => "mcp",
        (_, Fact::Known(_)) => "http",
        _ => "tcp",
    }
}
