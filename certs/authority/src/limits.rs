//! How often a caller may ask: a bucket for each, in a bounded table. Time is an argument.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use crate::entitlement::Bearer;

/// How much each caller may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many requests at once, from rest. A node asks for all its workloads when it starts.
    pub burst: u32,
    /// How long one request takes to be earned back.
    pub interval: Duration,
    /// How many callers are remembered. Only those whose bucket is not full need to be.
    pub callers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { burst: 2000, interval: Duration::from_millis(20), callers_max: 20_000 }
    }
}

/// One bucket a caller, kept as the time at which it will be full again.
#[derive(Debug)]
pub(crate) struct Limits {
    config: Config,
    full_at: HashMap<Bearer, SystemTime>,
}

impl Limits {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, full_at: HashMap::new() }
    }

    /// Takes one request from the caller's bucket; false if there is none, or no room for the caller.
    pub(crate) fn take(&mut self, caller: &Bearer, now: SystemTime) -> bool {
        let whole = self.config.interval.saturating_mul(self.config.burst);
        let latest = now + whole;
        if !self.full_at.contains_key(caller) && self.full_at.len() >= self.config.callers_max {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= self.config.callers_max {
                return false;
            }
        }
        // A clock that was set back must not lock a caller out for longer than its bucket takes to fill.
        let full_at = self.full_at.get(caller).copied().unwrap_or(now).clamp(now, latest);
        let after = full_at + self.config.interval;
        let taken = after <= latest;
        self.full_at.insert(caller.clone(), if taken { after } else { full_at });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config { burst: 3, interval: Duration::from_secs(10), callers_max: 2 };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + seconds)
    }

    fn node(name: &str) -> Bearer {
        Bearer::Node(name.into())
    }

    #[test]
    fn a_burst_then_one_an_interval() {
        let mut limits = Limits::new(CONFIG);
        for (second, expected) in
            [(0, true), (0, true), (0, true), (0, false), (9, false), (10, true), (10, false)]
        {
            assert_eq!(limits.take(&node("a"), at(second)), expected, "second {second}");
        }
        assert!(limits.take(&node("b"), at(10)), "another caller has a bucket of its own");
        let later = [40, 40, 40, 40].map(|second| limits.take(&node("a"), at(second)));
        assert_eq!(later, [true, true, true, false]);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_rested() {
        let mut limits = Limits::new(CONFIG);
        assert!(limits.take(&node("a"), at(0)) && limits.take(&node("b"), at(0)));
        assert!(!limits.take(&node("c"), at(9)));
        assert!(limits.take(&node("c"), at(10)));
        assert!(limits.full_at.len() <= CONFIG.callers_max);
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_long() {
        let mut limits = Limits::new(CONFIG);
        assert!(limits.take(&node("a"), at(100_000)));
        let tries = [0, 10, 20, 30].map(|second| limits.take(&node("a"), at(second)));
        assert_eq!(tries, [false, true, true, true]);
    }
}
