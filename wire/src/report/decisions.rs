//! Decisions, counted by the minute. Pure: time is an argument.
//!
//! What a caller can make up (paths, objects, hosts, users, names) is kept as long as there is little of it; then it
//! becomes `other`, field by field, then for that caller as a whole, then for everybody. The counts stay right.

mod minute;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::DecisionCount;
use minute::Minute;

/// Most different keys that are counted in one minute; what comes beyond is counted as `other`.
pub const KEYS_MAX: usize = 4096;
/// Stands for everything that there was no room to tell apart.
pub const OTHER: &str = "other";
/// Longest text in a key, in bytes; a longer one is `other`.
const TEXT_BYTES_MAX: usize = 512;
/// Minutes that are kept open: the current one, and one that a late decision may still belong to.
const MINUTES_MAX: usize = 2;

/// What was decided, or would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

    /// The mode of the policy that decided.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Granted | Self::Refused => "enforce",
            Self::WouldGrant | Self::WouldRefuse => "audit",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Granted, Self::Refused, Self::WouldGrant, Self::WouldRefuse]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// What decisions that are counted together agree in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// What was to be done there.
    pub asked: Asked,
}

/// What was to be done, as far as a policy could read it later. Arguments, headers and claims are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Asked {
    /// What stood at the destination: `service`, `workload`, `backend`, `route` or `listener`.
    pub place: Arc<str>,
    /// The port by which it was judged.
    pub port: u16,
    /// What is known of the caller's address: `inside` or `outside` of the mesh's ranges, or empty.
    pub address: Arc<str>,
    /// What was spoken.
    pub protocol: Arc<str>,
    /// The method of the innermost protocol that was read.
    pub method: Arc<str>,
    /// The host of the HTTP request.
    pub host: Arc<str>,
    /// The path of the HTTP request.
    pub path: Arc<str>,
    /// What it acts on: a tool, prompt, resource, skill, or provider and model.
    pub object: Arc<str>,
    /// The user, as issuer and subject.
    pub user: Arc<str>,
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
            asked: Asked::other(),
        }
    }

    /// Whether every text keeps its bound.
    pub(super) fn is_bounded(&self) -> bool {
        let asked = &self.asked;
        let own = [&self.reason, &self.policy, &self.rule, &self.source, &self.destination];
        let of_asked = [
            &asked.place,
            &asked.address,
            &asked.protocol,
            &asked.method,
            &asked.host,
            &asked.path,
            &asked.object,
            &asked.user,
        ];
        own.into_iter().chain(of_asked).all(|text| text.len() <= TEXT_BYTES_MAX)
    }
}

impl Asked {
    fn other() -> Self {
        let other: Arc<str> = OTHER.into();
        Self {
            protocol: Arc::clone(&other),
            method: Arc::clone(&other),
            host: Arc::clone(&other),
            path: Arc::clone(&other),
            object: Arc::clone(&other),
            user: other,
            ..Self::default()
        }
    }
}

/// Counts by minute.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    minutes: BTreeMap<u64, Minute>,
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
        counts.count(key);
    }

    /// What was counted since this was last asked, oldest first. Who keeps counts adds up those of one minute.
    pub(super) fn taken(&mut self) -> Vec<DecisionCount> {
        let counted = |(minute, counts): (u64, Minute)| {
            counts.sorted().into_iter().map(move |(key, count)| DecisionCount { minute, key, count })
        };
        std::mem::take(&mut self.minutes).into_iter().flat_map(counted).collect()
    }
}

/// The first second of a minute.
fn minute_of(at: SystemTime) -> u64 {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    seconds - seconds % 60
}

#[cfg(test)]
mod tests;
