//! What the program does with what arrives.

use std::time::Duration;

use crate::{Change, Rejected, Want};

/// The end of a push, as the subscriber hands it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names one run of one replica; empty for what was read from a disk.
    pub epoch: String,
    /// Counts within the epoch.
    pub generation: u64,
    /// The source's position, where it has one.
    pub as_of: Option<u64>,
}

/// Where a batch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the control plane, now.
    ControlPlane,
    /// From this proxy's disk, since the control plane did not answer in time.
    Disk {
        /// How long ago it was written.
        age: Duration,
    },
}

/// Changes that belong together: all of them, or none.
#[derive(Debug)]
pub struct Batch {
    /// The changes; what others refer to comes first.
    pub changes: Vec<Change>,
    /// What they end with.
    pub checkpoint: Checkpoint,
    /// Where they come from.
    pub origin: Origin,
}

/// Applies batches: makes the next snapshot and swaps it in, before it returns.
pub trait Receiver: Send + 'static {
    /// Applies a batch and names what cannot be taken; of that the program keeps the form that it had.
    fn apply(&mut self, batch: Batch) -> Vec<Rejected>;

    /// True while something depends on what was asked for; it is then not given up for disuse.
    fn in_use(&self, want: &Want) -> bool;
}
