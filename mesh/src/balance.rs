//! Chooses one endpoint among several: by health, nearness and capacity.
//!
//! Pure: chance is an argument.

use std::sync::Arc;

use crate::resource::{Balancing, Workload};

/// Keeps the endpoints among which new work should be spread: healthy ones that match the balancing, those
/// of this cluster before those behind a gateway, and of these the nearest.
pub fn nearest(
    source: &Workload,
    balancing: &Balancing,
    endpoints: Vec<Arc<Workload>>,
) -> Vec<Arc<Workload>> {
    let _ = (source, balancing, endpoints);
    todo!()
}

/// Chooses one by weight. `chance` is a random number; equal numbers choose equally.
pub fn pick(weights: impl Iterator<Item = u32> + Clone, chance: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    let mut rest = chance.checked_rem(total)?;
    for (index, weight) in weights.enumerate() {
        let weight = u64::from(weight);
        if rest < weight {
            return Some(index);
        }
        rest -= weight;
    }
    None
}
