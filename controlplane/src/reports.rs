//! What proxies report: refusals, decisions by the minute, plaintext seen. The latest are kept, in bounds.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use serde::Serialize;
use wire::{
    Caller,
    report::{DecisionKey, Inbox, Plaintext, Record, Refusal, RefusalId, Refusals},
};

/// Refusals that are kept.
const REFUSALS_MAX: usize = 10_000;
/// Pairs of callers and things called of which decisions are kept.
const DECISIONS_MAX: usize = 20_000;
/// Sightings of plaintext that are kept.
const PLAINTEXT_MAX: usize = 1_000;

/// Everything that was reported, as far as it is kept. Clones share it.
#[derive(Clone)]
pub(crate) struct Reports {
    refusals: Refusals,
    rest: Arc<Mutex<Rest>>,
}

#[derive(Default)]
struct Rest {
    decisions: BTreeMap<Decided, Count>,
    plaintext: VecDeque<Plaintext>,
    dropped: u64,
}

/// What decisions agree in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Decided {
    proxy: String,
    source: Arc<str>,
    destination: Arc<str>,
    verdict: &'static str,
    reason: Arc<str>,
    policy: Arc<str>,
    rule: Arc<str>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    last: u64,
    count: u64,
}

/// Decisions that agree, for people.
#[derive(Debug, Serialize)]
pub(crate) struct DecisionRow {
    source: Arc<str>,
    destination: Arc<str>,
    verdict: &'static str,
    reason: Arc<str>,
    policy: Arc<str>,
    rule: Arc<str>,
    count: u64,
    last: String,
    proxy: String,
}

impl Reports {
    pub(crate) fn new(start: SystemTime) -> Self {
        Self { refusals: Refusals::new("controlplane", start, REFUSALS_MAX, None), rest: Arc::default() }
    }

    /// The refusal of an id.
    pub(crate) fn refusal(&self, id: &RefusalId) -> Option<Arc<Refusal>> {
        self.refusals.find(id)
    }

    /// The refusals since a time, oldest first.
    pub(crate) fn since(&self, time: SystemTime) -> Vec<Arc<Refusal>> {
        self.refusals.since(time)
    }

    /// Who reached for what, and what was decided.
    pub(crate) fn decisions(&self) -> Vec<DecisionRow> {
        let rest = self.rest.lock();
        let row = |(decided, count): (&Decided, &Count)| DecisionRow {
            source: decided.source.clone(),
            destination: decided.destination.clone(),
            verdict: decided.verdict,
            reason: decided.reason.clone(),
            policy: decided.policy.clone(),
            rule: decided.rule.clone(),
            count: count.count,
            last: crate::status::time_text(count.last),
            proxy: decided.proxy.clone(),
        };
        rest.decisions.iter().map(row).collect()
    }

    /// Plaintext that was seen, oldest first, and how many records were lost on their way.
    pub(crate) fn plaintext(&self) -> (Vec<Plaintext>, u64) {
        let rest = self.rest.lock();
        (rest.plaintext.iter().cloned().collect(), rest.dropped)
    }
}

impl Inbox for Reports {
    fn take(&self, caller: &Caller, records: Vec<Record>, dropped: u64) {
        let mut rest = self.rest.lock();
        rest.dropped = rest.dropped.saturating_add(dropped);
        for record in records {
            match record {
                Record::Refusal(refusal) => self.refusals.keep(refusal),
                Record::Decisions(told) => rest.count(caller, told.key, told.minute, told.count),
                Record::Plaintext(seen) => {
                    if rest.plaintext.len() >= PLAINTEXT_MAX {
                        rest.plaintext.pop_front();
                    }
                    rest.plaintext.push_back(seen);
                }
                // How far each version came, the publisher knows from the acknowledgements themselves.
                Record::Applied { .. } => {}
            }
        }
    }
}

impl Rest {
    fn count(&mut self, caller: &Caller, key: DecisionKey, minute: u64, count: u64) {
        let decided = Decided {
            proxy: caller.to_string(),
            source: key.source,
            destination: key.destination,
            verdict: key.verdict.name(),
            reason: key.reason,
            policy: key.policy,
            rule: key.rule,
        };
        if !self.decisions.contains_key(&decided) && self.decisions.len() >= DECISIONS_MAX {
            let oldest =
                self.decisions.iter().min_by_key(|(_, count)| count.last).map(|(decided, _)| decided.clone());
            if let Some(oldest) = oldest {
                self.decisions.remove(&oldest);
            }
        }
        let kept = self.decisions.entry(decided).or_default();
        kept.count = kept.count.saturating_add(count);
        kept.last = kept.last.max(minute);
    }
}
