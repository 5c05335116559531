//! What becomes of the packets of one direction. Pure: time is an argument and chance has a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::counts::Counts;
use super::random::Random;
use super::shape::Shape;

/// How many packets may be under way in one direction.
pub(super) const PACKETS_MAX: usize = 16_384;
/// How many bytes may be under way in one direction.
pub(super) const BYTES_MAX: usize = 16 << 20;

/// One direction: its shape and what is under way.
#[derive(Debug)]
pub(super) struct Direction {
    shape: Shape,
    random: Random,
    /// By when they arrive, and then in the order in which they came.
    under_way: BTreeMap<(Instant, u64), Box<[u8]>>,
    bytes: usize,
    arrivals: u64,
    /// When the last packet that entered arrives.
    last: Option<Instant>,
    /// When the last packet that entered has passed the rate's narrow place.
    narrow_until: Option<Instant>,
    counts: Counts,
}

/// What to do with a packet that has just come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives now.
    Arrives,
    /// It was copied and arrives later.
    UnderWay,
    /// It never arrives.
    Gone,
}

impl Direction {
    pub(super) fn new(seed: u64) -> Direction {
        Direction {
            shape: Shape::default(),
            random: Random::seeded(seed),
            under_way: BTreeMap::new(),
            bytes: 0,
            arrivals: 0,
            last: None,
            narrow_until: None,
            counts: Counts::default(),
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Changes the shape, for packets under way too: a partition takes them, a shorter delay hurries them.
    pub(super) fn reshape(&mut self, now: Instant, shape: Shape) {
        if shape.partition {
            self.counts.cut += self.under_way.len() as u64;
            self.under_way.clear();
            self.bytes = 0;
        }
        let latest = now + shape.delay + shape.jitter;
        let hurried = self.under_way.split_off(&(latest, 0));
        self.under_way.extend(hurried.into_iter().map(|((_, arrival), packet)| ((latest, arrival), packet)));
        self.last = self.under_way.last_key_value().map(|((at, _), _)| *at);
        self.narrow_until = None;
        self.shape = shape;
    }

    /// Takes a packet that has come.
    pub(super) fn offer(&mut self, now: Instant, packet: &[u8]) -> Fate {
        if self.shape.partition {
            self.counts.cut += 1;
            return Fate::Gone;
        }
        if self.shape.loss > 0.0 && self.random.share() < self.shape.loss {
            self.counts.lost += 1;
            return Fate::Gone;
        }
        let Some(passed) = self.pass_narrow_place(now, packet.len()) else {
            self.counts.overflowed += 1;
            return Fate::Gone;
        };
        let at = self.arrival(passed);
        if at <= now && self.under_way.is_empty() {
            self.counts.delivered += 1;
            return Fate::Arrives;
        }
        if self.under_way.len() >= PACKETS_MAX || self.bytes + packet.len() > BYTES_MAX {
            self.counts.overflowed += 1;
            return Fate::Gone;
        }
        self.last = Some(at);
        self.bytes += packet.len();
        self.under_way.insert((at, self.arrivals), packet.into());
        self.arrivals += 1;
        Fate::UnderWay
    }

    /// When the next packet arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// A packet that has arrived by now.
    pub(super) fn due(&mut self, now: Instant) -> Option<Box<[u8]>> {
        let first = self.under_way.first_entry().filter(|first| first.key().0 <= now)?;
        let packet = first.remove();
        self.bytes -= packet.len();
        self.counts.delivered += 1;
        Some(packet)
    }

    /// When the packet has passed the narrow place; none if it would have to wait too long for its turn.
    fn pass_narrow_place(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.shape.rate else { return Some(now) };
        let turn = self.narrow_until.map_or(now, |until| until.max(now));
        if turn.duration_since(now) > self.shape.queue {
            return None;
        }
        let passed = turn + Duration::from_secs_f64(len as f64 * 8.0 / rate as f64);
        self.narrow_until = Some(passed);
        Some(passed)
    }

    fn arrival(&mut self, passed: Instant) -> Instant {
        let jitter = self.shape.jitter.mul_f64(2.0 * self.jitter_share());
        let delayed = passed + self.shape.delay + jitter;
        let at = delayed.checked_sub(self.shape.jitter).unwrap_or(passed).max(passed);
        match self.last {
            Some(last) if !self.shape.reorder => at.max(last),
            _ => at,
        }
    }

    fn jitter_share(&mut self) -> f64 {
        if self.shape.jitter.is_zero() { 0.0 } else { self.random.share() }
    }
}

#[cfg(test)]
#[path = "direction/tests.rs"]
mod tests;
