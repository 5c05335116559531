//! The allowances of this waypoint: reserved before something is done, settled when it is known what it took.
//!
//! Each waypoint holds its own; several replicas of one do not share them yet. The arithmetic is in [`windows`].

pub mod windows;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use exchange::{Ask, Exceeded, Ledger, Reservation, Used, ledger::applies};
use mesh::{
    Denial, Facts, Reason,
    resource::{Allowance, Mode, Quota, QuotaKey, QuotaLimit},
};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use self::windows::{Claim, Key, Refused, Unit, Windows};

/// Holds the allowances. Clones are the same.
#[derive(Debug, Clone)]
pub struct Allowances {
    windows: Arc<Mutex<Windows>>,
    began: Instant,
    now: fn() -> Instant,
    counts: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    quota: String,
    limit: String,
    what: &'static str,
}

impl Allowances {
    /// Nothing used yet.
    pub fn new(now: fn() -> Instant) -> Self {
        Self { windows: Arc::default(), began: now(), now, counts: Family::default() }
    }

    /// Registers the counters.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Requests and tokens by limit: granted, refused, would have been refused, settled, beyond what was reserved";
        registry.register("strait_quota", help, self.counts.clone());
    }

    fn elapsed(&self) -> Duration {
        (self.now)().saturating_duration_since(self.began)
    }

    fn count(&self, key: &Key, what: &'static str, amount: u64) {
        let labels = Labels { quota: key.quota.to_string(), limit: key.limit.to_string(), what };
        self.counts.get_or_create(&labels).inc_by(amount);
    }
}

impl Ledger for Allowances {
    fn reserve(
        &self,
        facts: &Facts,
        quotas: &[Arc<Quota>],
        ask: &Ask,
    ) -> Result<Box<dyn Reservation>, Exceeded> {
        let mut claims = Vec::new();
        for quota in quotas {
            if let Some(broken) = &quota.broken {
                if quota.mode == Mode::Audit {
                    continue;
                }
                return Err(refused(
                    quota,
                    None,
                    0,
                    0,
                    None,
                    "requests",
                    &format!("it cannot be realised: {broken}"),
                ));
            }
            for limit in &quota.limits {
                claims.extend(
                    claim(quota, limit, facts, ask)
                        .map(|claim| (Arc::clone(quota), limit.name.clone(), claim)),
                );
            }
        }
        let now = self.elapsed();
        let wanted: Vec<&Claim> = claims.iter().map(|(_, _, claim)| claim).collect();
        let held = self.windows.lock().reserve(now, &wanted);
        match held {
            Ok(would) => {
                for at in would {
                    self.count(&claims[at].2.key, "would_refuse", 1);
                }
            }
            Err(Refused { at, left, resets_in }) => {
                let (quota, limit, claim) = &claims[at];
                self.count(&claim.key, "refused", 1);
                let unit = claim.key.unit.name();
                let said = match resets_in {
                    Some(span) => format!(
                        "{} {unit} asked for, {left} of {} left, the next {} begin in {span:?}",
                        claim.amount, claim.most, claim.most
                    ),
                    None => format!(
                        "{} {unit} asked for, and there are never more than {}",
                        claim.amount, claim.most
                    ),
                };
                return Err(refused(quota, Some(limit), claim.most, left, resets_in, unit, &said));
            }
        }
        for (_, _, claim) in &claims {
            self.count(&claim.key, "reserved", claim.amount);
        }
        let claims = claims.into_iter().map(|(_, _, claim)| claim).collect();
        Ok(Box::new(Held { allowances: self.clone(), claims }))
    }
}

fn refused(
    quota: &Quota,
    limit: Option<&Arc<str>>,
    most: u64,
    left: u64,
    resets_in: Option<Duration>,
    unit: &'static str,
    said: &str,
) -> Exceeded {
    Exceeded {
        denial: Denial {
            policy: Some((quota.name.clone(), None)),
            rule: limit.cloned(),
            ..Denial::plain(Reason::QuotaExceeded, said)
        },
        most,
        left,
        resets_in: resets_in.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        unit,
    }
}

/// What a limit is asked for; `None`: it does not speak here.
fn claim(quota: &Quota, limit: &QuotaLimit, facts: &Facts, ask: &Ask) -> Option<Claim> {
    let (unit, most, amount) = match limit.most {
        // Requests are charged where all is known that the limit asks for: one that names models, when a model is
        // used; others, once for each exchange, when it is let in.
        Allowance::Requests(most) => {
            let here = limit.models.is_some() == ask.model.is_some();
            (Unit::Requests, most, if here { ask.requests } else { 0 })
        }
        Allowance::Tokens { most, margin, .. } => {
            let margin = u128::from(ask.tokens_in) * u128::from(margin);
            let margin = u64::try_from(margin.div_ceil(100)).unwrap_or(u64::MAX);
            let tokens = ask.tokens_in.saturating_add(margin).saturating_add(ask.tokens_out);
            (Unit::Tokens, most, tokens)
        }
    };
    if amount == 0 || !applies(limit, ask.model.as_deref()) {
        return None;
    }
    let key =
        Key { quota: quota.name.clone(), limit: limit.name.clone(), unit, whose: whose(&limit.per, facts) };
    let enforced = quota.mode == Mode::Enforce;
    Some(Claim { key, window: limit.window.into(), most, amount, enforced })
}

/// Whose allowance it is. What is not proven shares one.
fn whose(per: &QuotaKey, facts: &Facts) -> Arc<str> {
    let identity = facts.caller.workload.verified();
    match per {
        QuotaKey::Everyone => "".into(),
        QuotaKey::Identity => identity.map_or_else(|| "".into(), |identity| identity.to_string().into()),
        // A line feed is in no name of an issuer.
        QuotaKey::User => match &facts.user {
            Some(user) => format!("{}\n{}", user.issuer, user.subject).into(),
            None => "".into(),
        },
        QuotaKey::Label { values, .. } => {
            identity.and_then(|identity| values.get(identity)).cloned().unwrap_or_else(|| "".into())
        }
    }
}

struct Held {
    allowances: Allowances,
    claims: Vec<Claim>,
}

impl Held {
    fn give(&mut self, used: Option<Used>) {
        let claims = std::mem::take(&mut self.claims);
        let now = self.allowances.elapsed();
        let mut windows = self.allowances.windows.lock();
        for claim in &claims {
            let took = match (claim.key.unit, used) {
                (Unit::Tokens, Some(used)) => used.tokens,
                // Requests are not given back.
                (Unit::Requests, _) | (Unit::Tokens, None) => claim.amount,
            };
            windows.settle(now, claim, took);
            self.allowances.count(&claim.key, "settled", took);
            if took > claim.amount {
                self.allowances.count(&claim.key, "beyond", took - claim.amount);
            }
        }
    }
}

impl Reservation for Held {
    fn settle(mut self: Box<Self>, used: Used) {
        self.give(Some(used));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give(None);
    }
}

#[cfg(test)]
mod tests;
