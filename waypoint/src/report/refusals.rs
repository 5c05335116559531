//! Gives refusals their ids, keeps and counts them, and sends a copy up.

use std::{sync::Arc, time::SystemTime};

use exchange::{Place, Register, Trail};
use mesh::{Denial, Facts, names::ObjectName};
use wire::report::{Refusals, Subject};

use super::{Decisions, asked::operation};

/// The register of a waypoint.
#[derive(Debug, Clone)]
pub struct Records {
    /// Where refusals are kept.
    pub refusals: Refusals,
    /// Where those are counted that no policy decided.
    pub decisions: Decisions,
    /// The time.
    pub now: fn() -> SystemTime,
}

impl Register for Records {
    fn refused(&self, denial: &Denial, facts: &Facts, trail: &Trail) -> Arc<str> {
        self.decisions.refused(denial, facts);
        let subject = Subject {
            source: match facts.source_address {
                Some(address) if facts.caller.workload.verified().is_none() => {
                    format!("{} at {address}", facts.caller.workload).into()
                }
                _ => facts.caller.workload.to_string().into(),
            },
            by: facts.caller.by.as_ref().map(|by| by.to_string().into()),
            destination: destination(facts, trail).into(),
            operation: operation(facts).map(Into::into),
            trace: trail.trace().map(|trace| trace.trace.to_string().into()),
        };
        let refusal = self.refusals.refuse(denial.clone(), subject, (self.now)());
        refusal.id.to_string().into()
    }

    fn audited(&self, policy: &ObjectName, refusal: Option<&Denial>, facts: &Facts, trail: &Trail) {
        self.decisions.audited(policy, refusal, facts, trail.record().addressed.as_ref());
    }
}

fn destination(facts: &Facts, trail: &Trail) -> String {
    let record = trail.record();
    if let Some(upstream) = &record.upstream {
        return match &upstream.service {
            Some(service) => format!("{service}:{} at {}", facts.port, upstream.workload),
            None => format!("{}:{}", upstream.workload, upstream.port),
        };
    }
    if let Some(addressed) = &record.addressed {
        return match addressed {
            Place::Service { service, port } => format!("{service}:{port}"),
            Place::Workload { workload, port } => format!("{workload}:{port}"),
            Place::Agent(name) | Place::Route(name) => name.to_string(),
            Place::Listener { gateway, listener } => format!("{gateway}/{listener}"),
        };
    }
    match facts.http.known() {
        Some(http) => format!("{}:{}", http.host, facts.port),
        None => format!("port {}", facts.port),
    }
}
