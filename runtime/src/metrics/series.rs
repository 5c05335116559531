//! Families of metrics with so many series and no more, and counters that are brought up to date while something
//! goes on.

use std::{
    hash::Hash,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family},
    registry::Registry,
};

/// Labels that can be said without names, for what has no room.
pub trait Bounded: Clone + Hash + Eq {
    /// The one series of everything that has no room.
    #[must_use]
    fn other(&self) -> Self;
}

/// A family of metrics that has at most so many series. Clones share it.
#[derive(Debug)]
pub struct Series<L: Bounded, M> {
    family: Family<L, M, fn() -> M>,
    count: Arc<AtomicUsize>,
    most: usize,
    overflowed: Counter,
}

impl<L: Bounded, M> Clone for Series<L, M> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            count: Arc::clone(&self.count),
            most: self.most,
            overflowed: self.overflowed.clone(),
        }
    }
}

impl<L: Bounded, M: Clone> Series<L, M> {
    /// None yet; `make` makes each.
    pub fn new(most: usize, make: fn() -> M) -> Self {
        Self {
            family: Family::new_with_constructor(make),
            count: Arc::default(),
            most,
            overflowed: Counter::default(),
        }
    }

    /// The metric with these labels, to be kept by whoever uses it again. Without room: the one of all others.
    pub fn get(&self, labels: &L) -> M {
        if let Some(known) = self.family.get(labels) {
            return known.clone();
        }
        // Two that come at once for the same labels count twice, so that the bound is at most reached early.
        if self.count.fetch_add(1, Ordering::Relaxed) < self.most {
            return self.family.get_or_create(labels).clone();
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.overflowed.inc();
        self.family.get_or_create(&labels.other()).clone()
    }

    /// How often there was no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.get()
    }
}

impl<L, M> Series<L, M>
where
    L: Bounded + EncodeLabelSet + std::fmt::Debug + Send + Sync + 'static,
    M: Clone + EncodeMetric + TypedMetric + std::fmt::Debug + Send + Sync + 'static,
{
    /// Registers the family, and beside it how often there was no room.
    pub fn register(&self, name: &str, help: &str, registry: &mut Registry) {
        debug_assert!(!matches!(M::TYPE, MetricType::Unknown), "it has a type");
        registry.register(name, help, self.family.clone());
        let name = format!("strait_series_overflow_{name}");
        registry.register(name, "Times that a series had no room of its own", self.overflowed.clone());
    }
}

/// Reads how much was sent and received so far.
type Read = Box<dyn Fn() -> (u64, u64) + Send + Sync>;

/// Counts bytes of what goes on, at intervals and at its end. Dropped: it counts what is left.
pub struct Metered {
    read: Read,
    sent: Counter,
    received: Counter,
    counted: Mutex<(u64, u64)>,
}

impl std::fmt::Debug for Metered {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Metered").field("counted", &*self.counted.lock()).finish_non_exhaustive()
    }
}

impl Metered {
    fn bring_up_to_date(&self) {
        let mut counted = self.counted.lock();
        let (sent, received) = (self.read)();
        self.sent.inc_by(sent.saturating_sub(counted.0));
        self.received.inc_by(received.saturating_sub(counted.1));
        *counted = (sent.max(counted.0), received.max(counted.1));
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.bring_up_to_date();
    }
}

/// Everything that is metered. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    running: Arc<Mutex<Vec<Weak<Metered>>>>,
}

impl Meters {
    /// Begins to count what `read` reads.
    pub fn meter(
        &self,
        sent: Counter,
        received: Counter,
        read: impl Fn() -> (u64, u64) + Send + Sync + 'static,
    ) -> Arc<Metered> {
        let metered = Arc::new(Metered { read: Box::new(read), sent, received, counted: Mutex::new((0, 0)) });
        let mut running = self.running.lock();
        // What has ended is swept out when the list would grow, so that it is bounded by what runs.
        if running.len() == running.capacity() {
            running.retain(|metered| metered.strong_count() > 0);
        }
        running.push(Arc::downgrade(&metered));
        metered
    }

    /// Brings all up to date; to be called at intervals.
    pub fn tick(&self) {
        let running: Vec<_> = {
            let mut running = self.running.lock();
            running.retain(|metered| metered.strong_count() > 0);
            running.iter().filter_map(Weak::upgrade).collect()
        };
        running.iter().for_each(|metered| metered.bring_up_to_date());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
    struct Labels {
        caller: String,
    }

    impl Bounded for Labels {
        fn other(&self) -> Self {
            Self { caller: "other".to_owned() }
        }
    }

    fn labels(caller: impl ToString) -> Labels {
        Labels { caller: caller.to_string() }
    }

    #[test]
    fn a_hostile_caller_makes_no_more_series_than_there_is_room_for() {
        let series = Series::<Labels, Counter>::new(3, Counter::default);
        let mut registry = Registry::default();
        series.register("calls", "Calls", &mut registry);
        for caller in 0..1000 {
            series.get(&labels(caller)).inc();
        }
        series.get(&labels(2)).inc();
        assert_eq!((series.get(&labels(2)).get(), series.overflowed()), (2, 997));
        assert_eq!(series.get(&labels("anybody")).get(), 997);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert_eq!(text.matches("calls_total{").count(), 4, "{text}");
        assert!(text.contains("strait_series_overflow_calls_total 998"), "{text}");
    }

    #[test]
    fn bytes_are_counted_while_they_move_and_never_twice() {
        let (sent, received, moved) = (Counter::default(), Counter::default(), Arc::new(AtomicU64::new(5)));
        let (meters, read) = (Meters::default(), Arc::clone(&moved));
        let metered = meters.meter(sent.clone(), received.clone(), move || {
            let moved = read.load(Ordering::Relaxed);
            (moved, moved * 2)
        });
        meters.tick();
        assert_eq!((sent.get(), received.get()), (5, 10));
        moved.store(7, Ordering::Relaxed);
        drop(metered);
        assert_eq!((sent.get(), received.get()), (7, 14));
        meters.tick();
        assert_eq!((sent.get(), meters.running.lock().len()), (7, 0));
    }

    #[test]
    fn what_has_ended_is_not_kept() {
        let meters = Meters::default();
        for _ in 0..1000 {
            drop(meters.meter(Counter::default(), Counter::default(), || (0, 0)));
        }
        assert!(meters.running.lock().len() < 10);
    }
}
