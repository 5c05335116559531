//! Decisions, counted by the minute. Pure: time is an argument.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::DecisionCount;

/// Most different keys that are counted in one minute; what comes beyond is counted as `other`.
pub const KEYS_MAX: usize = 4096;
/// Minutes that are kept open: the current one, and one that a late decision may still belong to.
const MINUTES_MAX: usize = 2;
const OTHER: &str = "other";

/// What was decided, or would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Granted.
    Granted,
    /// Refused.
    Refused,
    /// A policy in audit would have granted.
    WouldGrant,
    /// A policy in audit would have refused.
    WouldRefuse,
}

impl Verdict {
    /// Its name in reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::WouldGrant => "would-grant",
            Self::WouldRefuse => "would-refuse",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Granted, Self::Refused, Self::WouldGrant, Self::WouldRefuse]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// What decisions that are counted together agree in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DecisionKey {
    /// What was decided.
    pub verdict: Verdict,
    /// The reason of a refusal, else empty.
    pub reason: Arc<str>,
    /// The policy that decided, else empty.
    pub policy: Arc<str>,
    /// The rule that decided, else empty.
    pub rule: Arc<str>,
    /// Who asked.
    pub source: Arc<str>,
    /// What was asked for.
    pub destination: Arc<str>,
}

impl DecisionKey {
    /// Everything of one verdict for which there was no room.
    fn other(verdict: Verdict) -> Self {
        let other: Arc<str> = OTHER.into();
        Self {
            verdict,
            reason: Arc::clone(&other),
            policy: Arc::clone(&other),
            rule: Arc::clone(&other),
            source: Arc::clone(&other),
            destination: other,
        }
    }
}

/// Counts by minute.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    minutes: BTreeMap<u64, BTreeMap<DecisionKey, u64>>,
}

impl Decisions {
    pub(super) fn count(&mut self, key: DecisionKey, at: SystemTime) {
        let minute = minute_of(at);
        let counts = match self.minutes.last_key_value() {
            // A clock that jumps about makes no minutes beyond the bound.
            Some((last, _)) if self.minutes.len() >= MINUTES_MAX && !self.minutes.contains_key(&minute) => {
                self.minutes.entry(*last).or_default()
            }
            _ => self.minutes.entry(minute).or_default(),
        };
        let known = counts.len() < KEYS_MAX || counts.contains_key(&key);
        let key = if known { key } else { DecisionKey::other(key.verdict) };
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// The counts of minutes that are over, oldest first.
    pub(super) fn over(&mut self, now: SystemTime) -> Vec<DecisionCount> {
        let open = self.minutes.split_off(&minute_of(now));
        let over = std::mem::replace(&mut self.minutes, open);
        let counted = |(minute, counts): (u64, BTreeMap<DecisionKey, u64>)| {
            counts.into_iter().map(move |(key, count)| DecisionCount { minute, key, count })
        };
        over.into_iter().flat_map(counted).collect()
    }
}

/// The first second of a minute.
fn minute_of(at: SystemTime) -> u64 {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    seconds - seconds % 60
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(source: &str) -> DecisionKey {
        DecisionKey { source: source.into(), ..DecisionKey::other(Verdict::Granted) }
    }

    fn second(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    #[test]
    fn a_minute_is_told_when_it_is_over() {
        let mut decisions = Decisions::default();
        decisions.count(key("a"), second(60));
        decisions.count(key("a"), second(119));
        decisions.count(key("a"), second(120));
        assert_eq!(decisions.over(second(119)), []);
        assert_eq!(decisions.over(second(120)), [DecisionCount { minute: 60, key: key("a"), count: 2 }]);
        assert_eq!(decisions.over(second(180)), [DecisionCount { minute: 120, key: key("a"), count: 1 }]);
    }

    #[test]
    fn callers_cannot_make_more_keys_than_there_is_room_for() {
        let mut decisions = Decisions::default();
        for number in 0..KEYS_MAX + 5 {
            decisions.count(key(&number.to_string()), second(0));
        }
        let told = decisions.over(second(60));
        assert_eq!(told.len(), KEYS_MAX + 1);
        let other = told.iter().find(|it| it.key == DecisionKey::other(Verdict::Granted));
        assert_eq!(other.map(|it| it.count), Some(5));
    }

    #[test]
    fn a_clock_that_jumps_makes_no_minutes_without_bound() {
        let mut decisions = Decisions::default();
        for minute in 0..100 {
            decisions.count(key("a"), second(60 * minute));
        }
        assert_eq!(decisions.minutes.len(), MINUTES_MAX);
        assert_eq!(decisions.over(second(6000)).iter().map(|it| it.count).sum::<u64>(), 100);
    }
}
