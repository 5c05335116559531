//! Makes refusals out of denials, and keeps the latest.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::Denial;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Record, RefusalId, Reporter};

/// What was refused to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Who asked: an identity, `unknown`, or an address.
    pub source: Arc<str>,
    /// The waypoint that spoke for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<Arc<str>>,
    /// What was asked for: a service, workload or address, with its port.
    pub destination: Arc<str>,
    /// What it was to do there, for example `tools/call search`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operation: Option<Arc<str>>,
    /// The trace that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trace: Option<Arc<str>>,
}

/// A refusal, with its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its id.
    pub id: RefusalId,
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// The proxy that refused.
    pub proxy: Arc<str>,
    /// What was refused to whom.
    #[serde(flatten)]
    pub subject: Subject,
    /// Why.
    pub denial: Denial,
}

impl Refusal {
    /// When.
    pub fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.at)).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The refusals of one proxy, or, on a control plane, those that came up to it. Clones share them.
#[derive(Debug, Clone)]
pub struct Refusals {
    proxy: Arc<str>,
    start: SystemTime,
    most: usize,
    reporter: Option<Reporter>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u32,
    ring: VecDeque<Arc<Refusal>>,
}

impl Refusals {
    /// Those of a proxy that started then: the latest `most` are kept, and a copy of each goes to `reporter`.
    pub fn new(
        proxy: impl Into<Arc<str>>,
        start: SystemTime,
        most: usize,
        reporter: Option<Reporter>,
    ) -> Self {
        Self { proxy: proxy.into(), start, most: most.max(1), reporter, kept: Arc::default() }
    }

    /// Makes a denial a refusal: with an id, kept, and told.
    pub fn refuse(&self, denial: Denial, subject: Subject, now: SystemTime) -> Arc<Refusal> {
        let policy = denial.policy.as_ref().map(|(name, _)| name);
        let mut kept = self.kept.lock();
        let id = RefusalId::new(&self.proxy, self.start, kept.next, denial.reason, policy);
        kept.next = kept.next.wrapping_add(1);
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let refusal = Arc::new(Refusal {
            id,
            at: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            proxy: Arc::clone(&self.proxy),
            subject,
            denial,
        });
        kept.push(Arc::clone(&refusal), self.most);
        drop(kept);
        if let Some(reporter) = &self.reporter {
            reporter.record(Record::Refusal(Arc::clone(&refusal)));
        }
        refusal
    }

    /// Keeps one that another proxy made; one that is kept already is not kept twice.
    pub fn keep(&self, refusal: Arc<Refusal>) {
        let mut kept = self.kept.lock();
        if kept.find(&refusal.id).is_none() {
            kept.push(refusal, self.most);
        }
    }

    /// The refusal of an id, if it is still kept.
    pub fn find(&self, id: &RefusalId) -> Option<Arc<Refusal>> {
        self.kept.lock().find(id).cloned()
    }

    /// Those since a time, oldest first.
    pub fn since(&self, time: SystemTime) -> Vec<Arc<Refusal>> {
        self.kept.lock().ring.iter().filter(|refusal| refusal.time() >= time).cloned().collect()
    }
}

impl Kept {
    fn push(&mut self, refusal: Arc<Refusal>, most: usize) {
        if self.ring.len() >= most {
            self.ring.pop_front();
        }
        self.ring.push_back(refusal);
    }

    fn find(&self, id: &RefusalId) -> Option<&Arc<Refusal>> {
        self.ring.iter().rev().find(|refusal| refusal.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use mesh::Reason;

    use super::*;

    #[test]
    fn the_latest_are_kept_and_found() {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let refusals = Refusals::new("node/n1", start, 2, None);
        let refuse = |second: u64| {
            let denial = Denial::plain(Reason::NoGrant, "x");
            refusals.refuse(denial, Subject::default(), start + Duration::from_secs(second))
        };
        let made = [refuse(0), refuse(1), refuse(2)];
        assert_eq!(refusals.find(&made[0].id), None);
        assert_eq!(refusals.find(&made[1].id), Some(Arc::clone(&made[1])));
        assert_eq!(refusals.since(start + Duration::from_secs(2)), [Arc::clone(&made[2])]);
        assert_eq!(refusals.since(start), made[1..]);
        refusals.keep(Arc::clone(&made[2]));
        assert_eq!(refusals.since(start), made[1..]);
    }

    #[test]
    fn a_refusal_is_read_as_it_was_written() {
        let refusals = Refusals::new("node/n1", SystemTime::UNIX_EPOCH, 2, None);
        let subject = Subject { source: "unknown".into(), destination: "a:1".into(), ..Subject::default() };
        let made = refusals.refuse(Denial::plain(Reason::Loop, "x"), subject, SystemTime::UNIX_EPOCH);
        let text = serde_json::to_vec(&*made).expect("it can be written");
        assert_eq!(serde_json::from_slice::<Refusal>(&text).expect("it can be read"), *made);
    }
}
