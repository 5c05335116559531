//! Chooses one endpoint among several: by health, nearness and capacity.
//!
//! Pure: chance is an argument.

use std::sync::Arc;

use crate::resource::{Balancing, Health, Reach, Scope, Workload};

/// Keeps the endpoints among which new work should be spread: healthy ones that match the balancing, those
/// of this network before those behind a gateway, and of these the nearest.
pub fn nearest(
    source: &Workload,
    balancing: &Balancing,
    endpoints: Vec<Arc<Workload>>,
) -> Vec<Arc<Workload>> {
    let mut best = None;
    let mut kept = Vec::new();
    for endpoint in endpoints {
        let agreed = agreed(source, &endpoint, &balancing.prefer);
        let eligible =
            endpoint.health == Health::Healthy && (!balancing.strict || agreed == balancing.prefer.len());
        if !eligible {
            continue;
        }
        let rank = (!matches!(endpoint.reach, Reach::Gateway { .. }), agreed);
        if best.is_none_or(|best| rank > best) {
            best = Some(rank);
            kept.clear();
        }
        if best == Some(rank) {
            kept.push(endpoint);
        }
    }
    kept
}

/// In how many of the scopes an endpoint agrees with its caller, counted from the most important one.
fn agreed(source: &Workload, endpoint: &Workload, scopes: &[Scope]) -> usize {
    scopes.iter().take_while(|scope| agrees(source, endpoint, **scope)).count()
}

/// What is not known agrees with nothing.
fn agrees(source: &Workload, endpoint: &Workload, scope: Scope) -> bool {
    let same = |ours: &str, theirs: &str| !ours.is_empty() && ours == theirs;
    let (ours, theirs) = (&source.locality, &endpoint.locality);
    match scope {
        Scope::Network => source.network == endpoint.network,
        Scope::Cluster => source.cluster == endpoint.cluster,
        Scope::Region => same(&ours.region, &theirs.region),
        Scope::Zone => agrees(source, endpoint, Scope::Region) && same(&ours.zone, &theirs.zone),
        Scope::Subzone => agrees(source, endpoint, Scope::Zone) && same(&ours.subzone, &theirs.subzone),
        Scope::Node => {
            source.cluster == endpoint.cluster && same(source.node.as_str(), endpoint.node.as_str())
        }
    }
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
