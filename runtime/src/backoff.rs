//! How long to wait before trying again: exponential, capped, with jitter.
//!
//! Pure: chance is an argument, and waiting is the caller's.

use std::time::Duration;

/// The shape of a series of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait of all.
    pub most: Duration,
}

/// A series of waits, each twice as long as the one before, up to the most.
#[derive(Debug, Clone)]
pub struct Backoff {
    config: Config,
    failures: u32,
}

impl Backoff {
    /// A series at its beginning.
    pub fn new(config: Config) -> Self {
        Self { config, failures: 0 }
    }

    /// Counts a failure and says how long to wait; `chance` is any random number.
    pub fn failed(&mut self, chance: u64) -> Duration {
        let wait = wait(self.config, self.failures, chance);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// Back to the beginning: it worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// The wait after `failures` earlier failures: between half of and the whole of `first * 2^failures`, capped.
///
/// The lower half is kept so that no two tries follow each other at once.
pub fn wait(config: Config, failures: u32, chance: u64) -> Duration {
    let doubled = 1u32.checked_shl(failures).filter(|_| failures < u32::BITS).unwrap_or(u32::MAX);
    let whole = config.first.saturating_mul(doubled).min(config.most);
    whole / 2 + part(whole / 2, chance)
}

/// A part of `whole` chosen by `chance`, evenly, from nothing to all of it.
pub fn part(whole: Duration, chance: u64) -> Duration {
    let nanoseconds = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    let chosen = (u128::from(nanoseconds) * u128::from(chance)) / u128::from(u64::MAX);
    Duration::from_nanos(u64::try_from(chosen).unwrap_or(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config { first: Duration::from_millis(100), most: Duration::from_secs(15) };

    #[test]
    fn waits_double_up_to_the_most() {
        let longest = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000];
        let mut backoff = Backoff::new(CONFIG);
        for milliseconds in longest {
            assert_eq!(backoff.failed(u64::MAX), Duration::from_millis(milliseconds));
        }
        assert_eq!(backoff.failures(), 10);
        backoff.succeeded();
        assert_eq!(backoff.failed(u64::MAX), CONFIG.first);
    }

    #[test]
    fn chance_chooses_in_the_upper_half() {
        assert_eq!(wait(CONFIG, 1, 0), Duration::from_millis(100));
        assert_eq!(wait(CONFIG, 1, u64::MAX), Duration::from_millis(200));
        let middle = wait(CONFIG, 1, u64::MAX / 2);
        assert!(middle > Duration::from_millis(149) && middle < Duration::from_millis(151), "{middle:?}");
    }

    #[test]
    fn no_number_of_failures_overflows() {
        for failures in [30, 31, 32, 33, 63, 64, u32::MAX] {
            assert_eq!(wait(CONFIG, failures, u64::MAX), CONFIG.most);
        }
        let endless = Config { first: Duration::MAX, most: Duration::MAX };
        assert!(wait(endless, u32::MAX, u64::MAX) > Duration::ZERO);
    }
}
