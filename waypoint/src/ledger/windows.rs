//! The arithmetic of allowances: windows, what was used in them, what is held. Pure: the time is an argument.
//!
//! A window begins with the first use and lasts as long as its limit says. What is held is counted whole in the window
//! of the moment, also in one that began later: so in no window, and by whichever clock the other side measures, can
//! more be used than is allowed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use mesh::names::ObjectName;

/// Most windows that are kept. When so many are in use, what would need a further one is refused.
pub const WINDOWS_MAX: usize = 100_000;
/// How often a full table is searched for windows that are over.
const SWEEP_AT_FULL: Duration = Duration::from_secs(1);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Tokens.
    Tokens,
}

impl Unit {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// One allowance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The quota.
    pub quota: ObjectName,
    /// The limit in it.
    pub limit: Arc<str>,
    /// What it counts.
    pub unit: Unit,
    /// Whose it is.
    pub whose: Arc<str>,
}

/// What is asked of one allowance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The allowance.
    pub key: Key,
    /// How long a window lasts.
    pub window: Duration,
    /// How much there is in one.
    pub most: u64,
    /// How much is asked for.
    pub amount: u64,
    /// Whether it decides, or only counts.
    pub enforced: bool,
}

/// A claim that cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Which claim.
    pub at: usize,
    /// How much is left of its allowance.
    pub left: u64,
    /// In what time the window ends; `None`: there is never so much.
    pub resets_in: Option<Duration>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Window {
    ends: Duration,
    used: u64,
    held: u64,
}

/// All windows.
#[derive(Debug, Default)]
pub struct Windows {
    table: HashMap<Key, Window>,
    swept: Option<Duration>,
}

impl Windows {
    /// Holds all of these, or none. Says which claims that do not decide are beyond their allowance.
    ///
    /// # Errors
    /// The first claim that decides and cannot be had.
    pub fn reserve(&mut self, now: Duration, claims: &[&Claim]) -> Result<Vec<usize>, Refused> {
        let mut would = Vec::new();
        for (at, claim) in claims.iter().enumerate() {
            let standing = self.standing(now, &claim.key);
            let taken = standing.map_or(0, |window| window.used.saturating_add(window.held));
            // Two claims of one call may be on one allowance.
            let before = claims[..at].iter().filter(|other| other.key == claim.key).map(|other| other.amount);
            let taken = before.fold(taken, u64::saturating_add);
            if taken.saturating_add(claim.amount) <= claim.most {
                continue;
            }
            if !claim.enforced {
                would.push(at);
                continue;
            }
            let ends = match standing {
                Some(window) if window.ends > now => window.ends - now,
                _ => claim.window,
            };
            let ever = claim.amount <= claim.most;
            let left = claim.most.saturating_sub(taken);
            return Err(Refused { at, left, resets_in: ever.then_some(ends) });
        }
        for (at, claim) in claims.iter().enumerate() {
            if self.standing(now, &claim.key).is_none() && !self.room(now) {
                for claim in &claims[..at] {
                    self.release(claim);
                }
                return Err(Refused { at, left: 0, resets_in: Some(SWEEP_AT_FULL) });
            }
            let window = self.table.entry(claim.key.clone()).or_default();
            if window.ends <= now {
                (window.ends, window.used) = (now.saturating_add(claim.window), 0);
            }
            // Limits change: a window never lasts longer than it may now.
            window.ends = window.ends.min(now.saturating_add(claim.window));
            window.held = window.held.saturating_add(claim.amount);
        }
        Ok(would)
    }

    /// Gives back what was held, and charges what it took.
    pub fn settle(&mut self, now: Duration, claim: &Claim, took: u64) {
        let Some(window) = self.table.get_mut(&claim.key) else { return };
        window.held = window.held.saturating_sub(claim.amount);
        if window.ends <= now {
            // The window that comes next has used what was still open when it begins.
            (window.ends, window.used) = (now.saturating_add(claim.window), 0);
        }
        window.used = window.used.saturating_add(took);
    }

    fn release(&mut self, claim: &Claim) {
        if let Some(window) = self.table.get_mut(&claim.key) {
            window.held = window.held.saturating_sub(claim.amount);
        }
    }

    /// What stands in the window of now; what is held counts also when the window is over.
    fn standing(&self, now: Duration, key: &Key) -> Option<Window> {
        let window = self.table.get(key)?;
        let over = window.ends <= now;
        Some(if over { Window { ends: now, used: 0, ..*window } } else { *window })
    }

    /// True if a further window can be kept, once those that are over were taken away.
    fn room(&mut self, now: Duration) -> bool {
        if self.table.len() < WINDOWS_MAX {
            return true;
        }
        let due = self.swept.is_none_or(|swept| now >= swept.saturating_add(SWEEP_AT_FULL));
        if due {
            self.swept = Some(now);
            self.table.retain(|_, window| window.ends > now || window.held > 0);
        }
        self.table.len() < WINDOWS_MAX
    }

    /// What was used and what is held in the window of now.
    pub fn read(&self, now: Duration, key: &Key) -> (u64, u64) {
        self.standing(now, key).map_or((0, 0), |window| (window.used, window.held))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn claim(whose: &str, amount: u64) -> Claim {
        let name: ObjectName = "QuotaPolicy/shop/q".parse().unwrap();
        let key = Key { quota: name, limit: "l".into(), unit: Unit::Tokens, whose: whose.into() };
        Claim { key, window: MINUTE, most: 100, amount, enforced: true }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_last_token_is_had_and_no_more() {
        let mut windows = Windows::default();
        assert_eq!(windows.reserve(at(1), &[&claim("a", 60)]), Ok(vec![]));
        assert_eq!(windows.reserve(at(2), &[&claim("a", 40)]), Ok(vec![]));
        let refused = Refused { at: 0, left: 0, resets_in: Some(at(58)) };
        assert_eq!(windows.reserve(at(3), &[&claim("a", 1)]), Err(refused));
        assert_eq!(windows.reserve(at(3), &[&claim("b", 100)]), Ok(vec![]));
    }

    #[test]
    fn what_is_never_there_does_not_reset() {
        let refused = Refused { at: 0, left: 100, resets_in: None };
        assert_eq!(Windows::default().reserve(at(0), &[&claim("a", 101)]), Err(refused));
        assert_eq!(Windows::default().reserve(at(0), &[&claim("a", u64::MAX)]), Err(refused));
    }

    #[test]
    fn what_was_not_used_is_given_back_and_what_was_beyond_is_charged() {
        let mut windows = Windows::default();
        windows.reserve(at(0), &[&claim("a", 100)]).unwrap();
        windows.settle(at(1), &claim("a", 100), 30);
        assert_eq!(windows.read(at(1), &claim("a", 0).key), (30, 0));
        windows.reserve(at(1), &[&claim("a", 70)]).unwrap();
        windows.settle(at(2), &claim("a", 70), 500);
        assert_eq!(windows.read(at(2), &claim("a", 0).key), (530, 0));
        assert!(windows.reserve(at(2), &[&claim("a", 1)]).is_err());
    }

    #[test]
    fn a_window_ends_and_the_next_begins_with_its_first_use() {
        let mut windows = Windows::default();
        windows.reserve(at(10), &[&claim("a", 100)]).unwrap();
        windows.settle(at(11), &claim("a", 100), 100);
        assert!(windows.reserve(at(69), &[&claim("a", 1)]).is_err());
        assert!(windows.reserve(at(70), &[&claim("a", 1)]).is_ok());
        let refused = windows.reserve(at(100), &[&claim("a", 100)]).unwrap_err();
        assert_eq!(refused.resets_in, Some(at(30)));
    }

    #[test]
    fn what_is_open_counts_in_the_window_that_begins_meanwhile() {
        let mut windows = Windows::default();
        windows.reserve(at(0), &[&claim("a", 80)]).unwrap();
        assert!(windows.reserve(at(61), &[&claim("a", 21)]).is_err());
        assert!(windows.reserve(at(61), &[&claim("a", 20)]).is_ok());
        windows.settle(at(62), &claim("a", 80), 80);
        assert_eq!(windows.read(at(62), &claim("a", 0).key), (80, 20));
    }

    #[test]
    fn all_claims_are_had_or_none() {
        let mut windows = Windows::default();
        let claims = [&claim("a", 50), &claim("b", 200)];
        assert_eq!(windows.reserve(at(0), &claims).unwrap_err().at, 1);
        assert_eq!(windows.read(at(0), &claims[0].key), (0, 0));
        // And two of one call on one allowance are counted together.
        assert!(windows.reserve(at(0), &[&claim("a", 50), &claim("a", 51)]).is_err());
        assert!(windows.reserve(at(0), &[&claim("a", 50), &claim("a", 50)]).is_ok());
    }

    #[test]
    fn what_only_counts_lets_through_and_says_so() {
        let mut windows = Windows::default();
        let audit = Claim { enforced: false, ..claim("a", 150) };
        assert_eq!(windows.reserve(at(0), &[&audit]), Ok(vec![0]));
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_of_what_is_over() {
        let mut windows = Windows::default();
        for index in 0..WINDOWS_MAX {
            windows.reserve(at(0), &[&claim(&index.to_string(), 1)]).unwrap();
            windows.settle(at(0), &claim(&index.to_string(), 1), 1);
        }
        assert!(windows.reserve(at(1), &[&claim("one more", 1)]).is_err());
        assert!(windows.reserve(at(1), &[&claim("7", 1)]).is_ok());
        assert!(windows.reserve(at(61), &[&claim("one more", 1)]).is_ok());
        // What is still held was kept.
        assert_eq!(windows.read(at(61), &claim("7", 0).key).1, 1);
    }

    proptest! {
        // Whatever is asked, settled and dropped in whatever order: in no window more than is allowed.
        #[test]
        fn never_more_than_allowed(steps in prop::collection::vec((0_u64..40, 0_u64..60, 0_u64..100, any::<bool>()), 1..200)) {
            let mut windows = Windows::default();
            let mut now = at(0);
            let mut open: Vec<Claim> = Vec::new();
            for (amount, wait, share, settles) in steps {
                now += Duration::from_secs(wait / 10);
                let wanted = claim("a", amount);
                if windows.reserve(now, &[&wanted]).is_ok() {
                    open.push(wanted);
                }
                if settles && !open.is_empty() {
                    let done = open.remove((share as usize) % open.len());
                    windows.settle(now, &done, done.amount * share / 100);
                }
                let (used, held) = windows.read(now, &claim("a", 0).key);
                prop_assert!(used + held <= 100, "{used} + {held}");
                prop_assert_eq!(held, open.iter().map(|claim| claim.amount).sum::<u64>());
            }
        }
    }
}
