//! Endpoints that could not be reached a moment ago: chosen only if nothing else is there.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use mesh::names::WorkloadUid;
use parking_lot::Mutex;

/// Most suspects; a further one is not remembered.
pub const SUSPECTS_MAX: usize = 4096;

/// The suspects.
#[derive(Debug)]
pub struct Suspects {
    until: Mutex<HashMap<WorkloadUid, Instant>>,
    span: Duration,
}

impl Suspects {
    /// Suspects for this long.
    pub fn new(span: Duration) -> Self {
        Self { until: Mutex::default(), span }
    }

    /// It could not be reached.
    pub fn unreached(&self, workload: &WorkloadUid) {
        let now = Instant::now();
        let mut until = self.until.lock();
        if until.len() >= SUSPECTS_MAX {
            until.retain(|_, end| *end > now);
        }
        if until.len() < SUSPECTS_MAX || until.contains_key(workload) {
            until.insert(workload.clone(), now + self.span);
        }
    }

    /// It was reached.
    pub fn reached(&self, workload: &WorkloadUid) {
        let mut until = self.until.lock();
        if !until.is_empty() {
            until.remove(workload);
        }
    }

    /// Those who are suspects now.
    pub fn now(&self) -> Vec<WorkloadUid> {
        let mut until = self.until.lock();
        if until.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        until.retain(|_, end| *end > now);
        until.keys().cloned().collect()
    }
}
