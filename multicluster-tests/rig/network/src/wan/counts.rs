//! What became of the packets of one direction.

use serde::{Deserialize, Serialize};

/// Packets since the emulator started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Arrived.
    pub delivered: u64,
    /// Lost by chance, as the shape's loss asks.
    pub lost: u64,
    /// Stopped by a partition, those that were under way included.
    pub cut: u64,
    /// Dropped because too many were waiting.
    pub overflowed: u64,
}
