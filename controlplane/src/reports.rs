//! What proxies report: refusals, decisions, spans, plaintext seen. The latest are kept, in bounds; `decisions` and
//! `spans` say which.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use runtime::trace::TraceId;
use serde::Serialize;
use wire::{
    Caller,
    report::{Inbox, Plaintext, Record, Refusal, RefusalId, Refusals},
};

use crate::{
    decisions::{self, Decisions},
    named::names,
    spans::{self, Spans},
    status::seconds,
};

/// Refusals that are kept.
const REFUSALS_MAX: usize = 10_000;
/// Refusals that one question gets at most.
pub(crate) const REFUSAL_ROWS_MAX: usize = 1000;
/// Sightings of plaintext that are kept.
const PLAINTEXT_MAX: usize = 1_000;

/// Everything that was reported, as far as it is kept. Clones share it.
#[derive(Clone)]
pub(crate) struct Reports {
    refusals: Refusals,
    rest: Arc<Mutex<Rest>>,
    now: fn() -> SystemTime,
}

#[derive(Default)]
struct Rest {
    decisions: Decisions,
    spans: Spans,
    plaintext: VecDeque<Plaintext>,
    dropped: u64,
}

/// Who reached for what, for people.
#[derive(Debug, Serialize)]
pub(crate) struct Reached {
    source: Arc<str>,
    destination: Arc<str>,
    verdict: &'static str,
    reason: Arc<str>,
    policy: Arc<str>,
    rule: Arc<str>,
    count: u64,
    last: String,
    proxy: Arc<str>,
}

/// How much is kept, and how much was lost.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    decisions: usize,
    decision_bytes: usize,
    decisions_dropped: u64,
    spans: usize,
    spans_dropped: u64,
    /// Records that proxies lost before they could tell them.
    pub(crate) reports_lost: u64,
}

/// Which refusals somebody wants to see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Not older than this.
    pub(crate) since: Option<SystemTime>,
    /// To this caller.
    pub(crate) from: Option<String>,
    /// At this destination.
    pub(crate) to: Option<String>,
    /// Told after this one. If it is not kept, all are.
    pub(crate) after: Option<RefusalId>,
}

impl Reports {
    pub(crate) fn new(now: fn() -> SystemTime) -> Self {
        Self { refusals: Refusals::new("controlplane", now(), REFUSALS_MAX, None), rest: Arc::default(), now }
    }

    /// The refusal of an id.
    pub(crate) fn refusal(&self, id: &RefusalId) -> Option<Arc<Refusal>> {
        self.refusals.find(id)
    }

    /// The refusals since a time, oldest first.
    pub(crate) fn since(&self, time: SystemTime) -> Vec<Arc<Refusal>> {
        self.refusals.since(time)
    }

    /// The refusals that are wanted, in the order in which they came: the latest, or, after a given one, the next.
    pub(crate) fn refusals(&self, wanted: &Wanted) -> Vec<Arc<Refusal>> {
        let all = self.refusals.since(wanted.since.unwrap_or(SystemTime::UNIX_EPOCH));
        let after = wanted.after.as_ref().and_then(|id| all.iter().position(|refusal| refusal.id == *id));
        let begin = after.map_or(0, |index| index + 1);
        let fits = |text: &str, name: &Option<String>| name.as_ref().is_none_or(|name| names(text, name));
        let mut found: Vec<_> = all
            .into_iter()
            .skip(begin)
            .filter(|it| fits(&it.subject.source, &wanted.from) && fits(&it.subject.destination, &wanted.to))
            .collect();
        if wanted.after.is_some() {
            found.truncate(REFUSAL_ROWS_MAX);
        } else {
            found.drain(..found.len().saturating_sub(REFUSAL_ROWS_MAX));
        }
        found
    }

    /// What was decided in the last day, as far as it is wanted.
    pub(crate) fn decisions(&self, wanted: &decisions::Wanted) -> Vec<decisions::Row> {
        self.rest.lock().decisions.rows(wanted)
    }

    /// A trace, with what carried it.
    pub(crate) fn trace(&self, trace: TraceId) -> Vec<spans::Row> {
        self.rest.lock().spans.of(trace)
    }

    /// The latest spans that are wanted.
    pub(crate) fn spans(&self, wanted: &spans::Wanted, most: usize) -> Vec<spans::Row> {
        self.rest.lock().spans.latest(wanted, most)
    }

    /// Who reached for what in the last day, and what was decided.
    pub(crate) fn reached(&self) -> Vec<Reached> {
        let rows = self.decisions(&decisions::Wanted::default());
        let mut reached: BTreeMap<_, Reached> = BTreeMap::new();
        for row in rows {
            let agree = (
                row.source.clone(),
                row.destination.clone(),
                row.verdict,
                row.reason.clone(),
                row.policy.clone(),
                row.rule.clone(),
                row.proxy.clone(),
            );
            // The latest row comes first, so the first one says when it was last.
            let kept = reached.entry(agree).or_insert_with(|| Reached {
                source: row.source,
                destination: row.destination,
                verdict: row.verdict,
                reason: row.reason,
                policy: row.policy,
                rule: row.rule,
                count: 0,
                last: row.last,
                proxy: row.proxy,
            });
            kept.count = kept.count.saturating_add(row.count);
        }
        reached.into_values().collect()
    }

    /// Plaintext that was seen, oldest first.
    pub(crate) fn plaintext(&self) -> Vec<Plaintext> {
        self.rest.lock().plaintext.iter().cloned().collect()
    }

    /// How much is kept, and how much was lost.
    pub(crate) fn standing(&self) -> Standing {
        let rest = self.rest.lock();
        let (decisions, decision_bytes, decisions_dropped) = rest.decisions.standing();
        let (spans, spans_dropped) = rest.spans.standing();
        let reports_lost = rest.dropped;
        Standing { decisions, decision_bytes, decisions_dropped, spans, spans_dropped, reports_lost }
    }
}

impl Inbox for Reports {
    fn take(&self, caller: &Caller, records: Vec<Record>, dropped: u64) {
        let (proxy, now): (Arc<str>, _) = (caller.to_string().into(), seconds((self.now)()));
        let mut rest = self.rest.lock();
        rest.dropped = rest.dropped.saturating_add(dropped);
        for record in records {
            match record {
                Record::Refusal(refusal) => self.refusals.keep(refusal),
                Record::Decisions(told) => rest.decisions.take(&proxy, told, now),
                Record::Span(span) => rest.spans.take(&proxy, span),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mesh::{Denial, Reason};
    use wire::report::Subject;

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    #[test]
    fn refusals_are_followed_from_the_last_one_that_was_seen() {
        let (reports, proxy) = (Reports::new(now), Refusals::new("node/n1", now(), 8, None));
        let caller = Caller::Node { name: "n1".into() };
        let made: Vec<_> = (0..REFUSAL_ROWS_MAX as u64 + 10)
            .map(|number| {
                let subject = Subject {
                    source: format!("spiffe://east.example/ns/shop/sa/a{}", number % 2).into(),
                    destination: "tools.shop.svc.cluster.local:80".into(),
                    ..Subject::default()
                };
                proxy.refuse(Denial::plain(Reason::NoGrant, "x"), subject, now())
            })
            .collect();
        reports.take(&caller, made.iter().cloned().map(Record::Refusal).collect(), 3);
        assert_eq!(reports.standing().reports_lost, 3);
        let latest = reports.refusals(&Wanted::default());
        assert_eq!((latest.len(), latest.last()), (REFUSAL_ROWS_MAX, made.last()));
        let after = |id: RefusalId| reports.refusals(&Wanted { after: Some(id), ..Wanted::default() });
        assert_eq!(after(made[made.len() - 3].id), made[made.len() - 2..]);
        assert_eq!(after(made[made.len() - 1].id), []);
        assert_eq!(after(made[0].id), made[1..=REFUSAL_ROWS_MAX]);
        let from = Wanted {
            from: Some("shop/a1".to_owned()),
            to: Some("shop/tools".to_owned()),
            ..Wanted::default()
        };
        assert_eq!(reports.refusals(&from).len(), made.len() / 2);
        let late = Wanted { since: Some(now() + Duration::from_secs(1)), ..Wanted::default() };
        assert_eq!(reports.refusals(&late), []);
    }
}
