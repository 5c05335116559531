//! What is known of the mesh now: the current snapshot and its number.

use std::sync::Arc;

use arc_swap::ArcSwap;
use mesh::snapshot::Snapshot;

/// A snapshot, and how many came before it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Grows with every swap.
    pub(crate) number: u64,
    pub(crate) snapshot: Snapshot,
}

/// The current snapshot. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<ArcSwap<Held>>);

impl World {
    /// The current snapshot. Nobody holds it across a wait.
    pub(crate) fn load(&self) -> Arc<Held> {
        self.0.load_full()
    }

    /// Replaces it; the number of the new one.
    pub(crate) fn swap(&self, snapshot: Snapshot) -> u64 {
        let number = self.0.load().number + 1;
        self.0.store(Arc::new(Held { number, snapshot }));
        number
    }
}
