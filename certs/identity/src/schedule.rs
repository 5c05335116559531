//! When each wanted identity is asked for. Pure: time and chance are arguments.
//!
//! Renewal at half life with jitter; after a failure a wait that grows for that identity alone; a bounded number at
//! once, those that somebody waits for first, then those without a valid certificate, then renewals.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use mesh::Identity;
use runtime::backoff::{self, Backoff};

/// How certificates are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many requests are under way at once.
    pub at_once_max: usize,
    /// How long to wait after failures, for each identity.
    pub backoff: backoff::Config,
}

impl Default for Config {
    fn default() -> Self {
        let backoff = backoff::Config { first: Duration::from_millis(250), most: Duration::from_secs(150) };
        Self { at_once_max: 8, backoff }
    }
}

/// From when until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// When it begins.
    pub from: SystemTime,
    /// When it ends.
    pub until: SystemTime,
}

impl Validity {
    /// True if it is valid at `now`.
    pub fn holds(self, now: SystemTime) -> bool {
        self.from <= now && now < self.until
    }
}

#[derive(Debug)]
struct Slot {
    held: Option<Validity>,
    end_told: bool,
    due: SystemTime,
    backoff: Backoff,
    waiting: usize,
}

/// The wanted identities and when each is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    config: Config,
    slots: BTreeMap<Identity, Slot>,
    // Kept apart from the slots: what was forgotten while under way still counts until it lands.
    under_way: BTreeSet<Identity>,
}

impl Schedule {
    pub(crate) fn new(config: Config) -> Self {
        Self { config, slots: BTreeMap::new(), under_way: BTreeSet::new() }
    }

    /// Wants an identity, at once, unless it is wanted already.
    pub(crate) fn want(&mut self, identity: &Identity, now: SystemTime) {
        if !self.slots.contains_key(identity) {
            let backoff = Backoff::new(self.config.backoff);
            let slot = Slot { held: None, end_told: false, due: now, backoff, waiting: 0 };
            self.slots.insert(identity.clone(), slot);
        }
    }

    pub(crate) fn forget(&mut self, identity: &Identity) {
        self.slots.remove(identity);
    }

    pub(crate) fn wants(&self, identity: &Identity) -> bool {
        self.slots.contains_key(identity)
    }

    pub(crate) fn wanted(&self) -> impl Iterator<Item = &Identity> {
        self.slots.keys()
    }

    /// Somebody waits for an identity (1), or does not any more (-1).
    pub(crate) fn waiting(&mut self, identity: &Identity, change: isize) {
        if let Some(slot) = self.slots.get_mut(identity) {
            slot.waiting = slot.waiting.saturating_add_signed(change);
        }
    }

    /// A certificate is held now: it came, or was found on disk. Renewal is in the middle quarter of its life.
    pub(crate) fn held(&mut self, identity: &Identity, validity: Validity, chance: u64) {
        if let Some(slot) = self.slots.get_mut(identity) {
            let life = validity.until.duration_since(validity.from).unwrap_or_default();
            slot.due = validity.from + life * 3 / 8 + backoff::part(life / 4, chance);
            slot.held = Some(validity);
            slot.end_told = false;
            slot.backoff.succeeded();
        }
    }

    /// It did not come: the wait until the next try.
    pub(crate) fn failed(&mut self, identity: &Identity, now: SystemTime, chance: u64) -> Duration {
        let Some(slot) = self.slots.get_mut(identity) else {
            return Duration::ZERO;
        };
        let wait = slot.backoff.failed(chance);
        slot.due = now + wait;
        wait
    }

    /// A new certificate is wanted now, although one is held.
    pub(crate) fn renew(&mut self, identity: &Identity, now: SystemTime) {
        if let Some(slot) = self.slots.get_mut(identity) {
            slot.due = slot.due.min(now);
        }
    }

    /// A request came back, with whatever.
    pub(crate) fn landed(&mut self, identity: &Identity) {
        self.under_way.remove(identity);
    }

    /// What to ask for now; counts as under way from here on.
    pub(crate) fn start(&mut self, now: SystemTime) -> Vec<Identity> {
        let room = self.config.at_once_max.saturating_sub(self.under_way.len());
        let due = self
            .slots
            .iter()
            .filter(|(identity, slot)| slot.due <= now && !self.under_way.contains(*identity));
        let mut due: Vec<_> = due
            .map(|(identity, slot)| {
                let lacking = !slot.held.is_some_and(|held| held.holds(now));
                (Reverse((slot.waiting > 0, lacking)), slot.due, identity.clone())
            })
            .collect();
        due.sort();
        due.truncate(room);
        let start: Vec<_> = due.into_iter().map(|(_, _, identity)| identity).collect();
        self.under_way.extend(start.iter().cloned());
        start
    }

    /// Those whose certificate ended, each told once.
    pub(crate) fn ended(&mut self, now: SystemTime) -> Vec<Identity> {
        let ended = self.slots.iter_mut().filter_map(|(identity, slot)| {
            let over = !slot.end_told && slot.held.is_some_and(|held| held.until <= now);
            slot.end_told |= over;
            over.then(|| identity.clone())
        });
        ended.collect()
    }

    /// When to look again, if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<SystemTime> {
        let room = self.under_way.len() < self.config.at_once_max;
        let wakes = self.slots.iter().flat_map(|(identity, slot)| {
            let due = (room && !self.under_way.contains(identity)).then_some(slot.due);
            let end = slot.held.filter(|_| !slot.end_told).map(|held| held.until);
            [due, end]
        });
        wakes.flatten().min()
    }

    /// When an identity is asked for next, and how often that failed since the last success.
    pub(crate) fn next(&self, identity: &Identity) -> Option<(SystemTime, u32)> {
        self.slots.get(identity).map(|slot| (slot.due, slot.backoff.failures()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const BACKOFF: backoff::Config =
        backoff::Config { first: Duration::from_secs(1), most: Duration::from_secs(60) };

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn id(name: &str) -> Identity {
        format!("spiffe://east/{name}").parse().unwrap()
    }

    fn schedule(at_once_max: usize, wanted: &[&str]) -> Schedule {
        let mut schedule = Schedule::new(Config { at_once_max, backoff: BACKOFF });
        for name in wanted {
            schedule.want(&id(name), at(0));
        }
        schedule
    }

    fn day() -> Validity {
        Validity { from: at(0), until: at(24 * 3600) }
    }

    #[test]
    fn what_is_wanted_is_asked_for_once_at_a_time() {
        let mut schedule = schedule(8, &["a", "b"]);
        assert_eq!(schedule.start(at(0)), [id("a"), id("b")]);
        assert_eq!(schedule.start(at(0)), []);
        assert_eq!(schedule.wake_at(), None);
        schedule.landed(&id("a"));
        schedule.failed(&id("a"), at(0), u64::MAX);
        assert_eq!(schedule.wake_at(), Some(at(1)));
        assert_eq!(schedule.start(at(0)), []);
        assert_eq!(schedule.start(at(1)), [id("a")]);
    }

    #[test]
    fn no_more_than_the_most_are_under_way() {
        let mut schedule = schedule(2, &["a", "b", "c"]);
        assert_eq!(schedule.start(at(0)), [id("a"), id("b")]);
        assert_eq!(schedule.wake_at(), None, "nothing can start before one lands");
        // Forgotten, but still under way.
        schedule.forget(&id("a"));
        assert_eq!(schedule.start(at(0)), []);
        schedule.landed(&id("a"));
        assert_eq!(schedule.start(at(0)), [id("c")]);
    }

    #[test]
    fn who_is_waited_for_comes_first_then_who_has_none() {
        let mut schedule = schedule(1, &["a", "b", "c", "d"]);
        schedule.held(&id("a"), Validity { from: at(0), until: at(100) }, 0);
        schedule.held(&id("d"), Validity { from: at(0), until: at(100) }, 0);
        schedule.waiting(&id("d"), 1);
        let mut order = Vec::new();
        for _ in 0..4 {
            let started = schedule.start(at(60));
            for identity in &started {
                schedule.landed(identity);
                schedule.held(identity, day(), 0);
            }
            order.extend(started);
        }
        assert_eq!(order, [id("d"), id("b"), id("c"), id("a")]);
    }

    #[test]
    fn renewal_is_around_half_life() {
        let mut schedule = schedule(8, &["a"]);
        for (chance, hours) in [(0, 9), (u64::MAX / 2 + 1, 12), (u64::MAX, 15)] {
            schedule.held(&id("a"), day(), chance);
            assert_eq!(schedule.wake_at(), Some(at(hours * 3600)));
        }
    }

    #[test]
    fn failures_wait_longer_each_and_for_that_identity_alone() {
        let mut schedule = schedule(8, &["a", "b"]);
        let waits: Vec<_> = (0..8).map(|_| schedule.failed(&id("a"), at(0), u64::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(schedule.failed(&id("b"), at(0), u64::MAX), Duration::from_secs(1));
        schedule.held(&id("a"), day(), 0);
        assert_eq!(schedule.failed(&id("a"), at(0), u64::MAX), Duration::from_secs(1));
    }

    #[test]
    fn a_renewal_that_fails_keeps_what_is_held_until_its_end() {
        let mut schedule = schedule(8, &["a"]);
        schedule.held(&id("a"), Validity { from: at(0), until: at(100) }, 0);
        schedule.failed(&id("a"), at(99), 0);
        assert_eq!(schedule.ended(at(99)), []);
        assert_eq!(schedule.ended(at(100)), [id("a")]);
        assert_eq!(schedule.ended(at(101)), [], "told once");
        schedule.held(&id("a"), Validity { from: at(101), until: at(200) }, 0);
        assert_eq!(schedule.ended(at(200)), [id("a")]);
    }

    #[test]
    fn a_renewal_can_be_wanted_before_its_time() {
        let mut schedule = schedule(8, &["a"]);
        schedule.held(&id("a"), day(), 0);
        assert_eq!(schedule.start(at(10)), []);
        schedule.renew(&id("a"), at(10));
        assert_eq!(schedule.start(at(10)), [id("a")]);
    }

    #[test]
    fn the_end_of_a_certificate_wakes() {
        let mut schedule = schedule(1, &["a"]);
        schedule.held(&id("a"), Validity { from: at(0), until: at(100) }, 0);
        assert_eq!(schedule.start(at(40)), [id("a")]);
        assert_eq!(schedule.wake_at(), Some(at(100)), "also while its renewal hangs");
        assert_eq!(schedule.ended(at(100)), [id("a")]);
        assert_eq!(schedule.wake_at(), None);
    }

    #[test]
    fn a_validity_holds_from_its_beginning_to_before_its_end() {
        let hour = Validity { from: at(0), until: at(0) + HOUR };
        let cases = [(at(0), true), (at(3599), true), (at(3600), false), (at(0) - HOUR, false)];
        for (now, expected) in cases {
            assert_eq!(hour.holds(now), expected, "{now:?}");
        }
    }
}
