//! Decisions of the last day, as the proxies told them: by the minute for an hour, then by the hour.
//!
//! Pure: time is an argument. In memory only: a control plane that starts again begins to remember anew. *Bounds*:
//! [`BYTES_MAX`] in all, of which one proxy has at most [`PROXY_BYTES_MAX`]. A proxy that tells more has the rest
//! dropped; when the whole is full, the oldest minute or hour goes. Both are counted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::Serialize;
use wire::report::{Asked, DecisionCount, DecisionKey};

use crate::named::names;

/// Bytes of all decisions that are kept, roughly.
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// Bytes of those that one proxy told.
pub(crate) const PROXY_BYTES_MAX: usize = BYTES_MAX / 8;
/// Rows that one question gets at most: those with the latest decisions.
pub(crate) const ROWS_MAX: usize = 10_000;
/// What a record costs beside its texts.
const RECORD_BYTES: usize = 320;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
/// For how long decisions are kept, in seconds.
pub(crate) const KEPT_FOR: u64 = 24 * HOUR;
/// How far a proxy's clock may be ahead, in seconds.
const AHEAD_MAX: u64 = 2 * MINUTE;

/// What decisions agree in, and who told them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Decided {
    proxy: Arc<str>,
    key: DecisionKey,
}

impl Decided {
    fn bytes(&self) -> usize {
        let DecisionKey { reason, policy, rule, source, destination, asked, verdict: _ } = &self.key;
        let Asked { place, address, protocol, method, host, path, object, user, port: _ } = asked;
        let texts = [
            reason,
            policy,
            rule,
            source,
            destination,
            place,
            address,
            protocol,
            method,
            host,
            path,
            object,
            user,
        ];
        RECORD_BYTES + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    first: u64,
    last: u64,
    count: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.count = self.count.saturating_add(other.count);
    }
}

/// A span of time, by its first second and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Bucket {
    start: u64,
    length: u64,
}

/// The decisions that are kept.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    buckets: BTreeMap<Bucket, HashMap<Arc<Decided>, Count>>,
    bytes: usize,
    of_proxy: HashMap<Arc<str>, usize>,
    dropped: u64,
    aged: u64,
}

/// Which decisions somebody wants to see.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// Not older than this second.
    pub(crate) since: u64,
    /// Of this policy: its name, or namespace and name, or all of it.
    pub(crate) policy: Option<String>,
    /// Of this caller.
    pub(crate) from: Option<String>,
    /// At this destination.
    pub(crate) to: Option<String>,
}

/// Decisions that agree, for programs and people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) verdict: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) reason: Arc<str>,
    pub(crate) policy: Arc<str>,
    pub(crate) rule: Arc<str>,
    pub(crate) source: Arc<str>,
    pub(crate) destination: Arc<str>,
    #[serde(flatten)]
    pub(crate) asked: Asked,
    pub(crate) count: u64,
    /// The first minute, and the last one, in which there was one.
    pub(crate) first: String,
    pub(crate) last: String,
    /// The same in seconds since the Unix epoch.
    pub(crate) first_second: u64,
    pub(crate) last_second: u64,
    pub(crate) proxy: Arc<str>,
}

impl Decisions {
    /// Takes what a proxy counted in one minute.
    pub(crate) fn take(&mut self, proxy: &Arc<str>, told: DecisionCount, now: u64) {
        self.age(now);
        if told.minute > now.saturating_add(AHEAD_MAX) || told.minute < now.saturating_sub(KEPT_FOR) {
            self.dropped = self.dropped.saturating_add(told.count);
            return;
        }
        let length = if told.minute < now.saturating_sub(HOUR) { HOUR } else { MINUTE };
        let bucket = Bucket { start: told.minute - told.minute % length, length };
        let count = Count { first: told.minute, last: told.minute, count: told.count };
        let decided = Arc::new(Decided { proxy: Arc::clone(proxy), key: told.key });
        self.add(bucket, decided, count);
    }

    /// How many are kept (records and bytes), and how many decisions were dropped.
    pub(crate) fn standing(&self) -> (usize, usize, u64) {
        (self.buckets.values().map(HashMap::len).sum(), self.bytes, self.dropped)
    }

    /// What is wanted, the latest first.
    pub(crate) fn rows(&self, wanted: &Wanted) -> Vec<Row> {
        let fits = |text: &str, name: &Option<String>| name.as_ref().is_none_or(|name| names(text, name));
        let mut found: HashMap<&Decided, Count> = HashMap::new();
        for (decided, count) in self.buckets.values().flatten() {
            let key = &decided.key;
            if count.last < wanted.since
                || !fits(&key.policy, &wanted.policy)
                || !fits(&key.source, &wanted.from)
                || !fits(&key.destination, &wanted.to)
            {
                continue;
            }
            found.entry(&**decided).and_modify(|known| known.add(*count)).or_insert(*count);
        }
        let mut rows: Vec<_> = found.into_iter().collect();
        rows.sort_by(|(one, a), (two, b)| {
            (b.last, b.count).cmp(&(a.last, a.count)).then_with(|| one.key.cmp(&two.key))
        });
        rows.truncate(ROWS_MAX);
        rows.into_iter().map(|(decided, count)| row(decided, count)).collect()
    }

    fn add(&mut self, bucket: Bucket, decided: Arc<Decided>, count: Count) {
        let held = self.buckets.entry(bucket).or_default();
        if let Some(known) = held.get_mut(&decided) {
            known.add(count);
            return;
        }
        let bytes = decided.bytes();
        let of_proxy = self.of_proxy.entry(Arc::clone(&decided.proxy)).or_default();
        if *of_proxy + bytes > PROXY_BYTES_MAX {
            self.dropped = self.dropped.saturating_add(count.count);
            return;
        }
        *of_proxy += bytes;
        self.bytes += bytes;
        held.insert(decided, count);
        while self.bytes > BYTES_MAX
            && let Some((_, oldest)) = self.buckets.pop_first()
        {
            let lost: u64 = oldest.values().map(|count| count.count).sum();
            self.dropped = self.dropped.saturating_add(lost);
            self.forget(&oldest);
        }
    }

    /// Makes hours of minutes that are older than an hour, and forgets what is older than a day.
    fn age(&mut self, now: u64) {
        let minute = now - now % MINUTE;
        if self.aged == minute {
            return;
        }
        self.aged = minute;
        while let Some(entry) = self.buckets.first_entry()
            && entry.key().start.saturating_add(entry.key().length) < now.saturating_sub(KEPT_FOR)
        {
            let gone = entry.remove();
            self.forget(&gone);
        }
        let old = |bucket: &Bucket| bucket.length == MINUTE && bucket.start < now.saturating_sub(HOUR);
        let minutes: Vec<Bucket> = self.buckets.keys().filter(|bucket| old(bucket)).copied().collect();
        for bucket in minutes {
            let Some(counts) = self.buckets.remove(&bucket) else { continue };
            self.forget(&counts);
            let hour = Bucket { start: bucket.start - bucket.start % HOUR, length: HOUR };
            for (decided, count) in counts {
                self.add(hour, decided, count);
            }
        }
    }

    fn forget(&mut self, counts: &HashMap<Arc<Decided>, Count>) {
        for decided in counts.keys() {
            let bytes = decided.bytes();
            self.bytes = self.bytes.saturating_sub(bytes);
            if let Some(held) = self.of_proxy.get_mut(&decided.proxy) {
                *held = held.saturating_sub(bytes);
                if *held == 0 {
                    self.of_proxy.remove(&decided.proxy);
                }
            }
        }
    }
}

fn row(decided: &Decided, count: Count) -> Row {
    let key = &decided.key;
    Row {
        verdict: key.verdict.name(),
        mode: key.verdict.mode(),
        reason: Arc::clone(&key.reason),
        policy: Arc::clone(&key.policy),
        rule: Arc::clone(&key.rule),
        source: Arc::clone(&key.source),
        destination: Arc::clone(&key.destination),
        asked: key.asked.clone(),
        count: count.count,
        first: crate::status::time_text(count.first),
        last: crate::status::time_text(count.last),
        first_second: count.first,
        last_second: count.last,
        proxy: Arc::clone(&decided.proxy),
    }
}

#[cfg(test)]
mod tests;
