//! What the snapshot knows beside policies.

use std::{collections::BTreeSet, sync::Arc};

use exchange::{Known, Place};
use mesh::{
    names::ObjectName,
    resource::{Catalogue, Guard, Issuer, Quota, Secret},
    snapshot::{AdoptedSet, Snapshot},
};

use crate::{judge::set_of, world::Worlds};

/// Answers from these worlds.
#[derive(Debug)]
pub struct Told(pub Arc<Worlds>);

impl Known for Told {
    fn guards(&self, places: &[Place]) -> Vec<Arc<Guard>> {
        each_once(&self.0.load().snapshot, places, |set| &set.guards, |guard| &guard.name)
    }

    fn quotas(&self, places: &[Place]) -> Vec<Arc<Quota>> {
        each_once(&self.0.load().snapshot, places, |set| &set.quotas, |quota| &quota.name)
    }

    fn catalogue(&self, name: &ObjectName) -> Option<Arc<Catalogue>> {
        self.0.load().snapshot.catalogue(name).cloned()
    }

    fn secret(&self, name: &ObjectName) -> Option<Arc<Secret>> {
        self.0.load().snapshot.secret(name).cloned()
    }

    fn issuer(&self, name: &str) -> Option<Arc<Issuer>> {
        self.0.load().snapshot.issuer(name).cloned()
    }
}

fn each_once<T>(
    snapshot: &Snapshot,
    places: &[Place],
    of: impl Fn(&AdoptedSet) -> &Vec<Arc<T>>,
    name: impl Fn(&T) -> &ObjectName,
) -> Vec<Arc<T>> {
    let mut seen = BTreeSet::new();
    let sets = places.iter().filter_map(|place| set_of(snapshot, place));
    let adopted: Vec<_> = sets.filter_map(|(set, _)| snapshot.set(&set)).collect();
    let all = adopted.iter().flat_map(|set| of(set));
    all.filter(|one| seen.insert(name(one).clone())).cloned().collect()
}
