//! Lets a policy set rule when it is complete, and not before.
//!
//! A set names its members with their versions. It is adopted when all of them are held; until then the
//! previous complete one rules. A set that was never complete is not there, which refuses.

use std::sync::Arc;

use super::{
    AdoptedSet, AdoptedStage, SetState,
    apply::{Draft, enlist, unlist},
};
use crate::{
    facts::Demand,
    names::{ObjectName, SetName},
    resource::{PolicyRef, PolicySet},
};

impl Draft {
    /// Takes, changes or drops a set.
    pub(super) fn replace_set(&mut self, name: &SetName, told: Option<Arc<PolicySet>>) {
        let old = self.next.sets.get(name).cloned();
        if old.as_ref().map(|old| &old.told) == told.as_ref() {
            return;
        }
        if let Some(old) = &old {
            for member in members(&old.told) {
                unlist(&mut self.next.members, member, name);
            }
        }
        let Some(told) = told else {
            self.next.sets.remove(name);
            self.touched.sets.insert(name.clone());
            return;
        };
        for member in members(&told) {
            enlist(&mut self.next.members, member.clone(), name);
        }
        let adopted = old.and_then(|old| old.adopted);
        self.next.sets.insert(name.clone(), SetState { told, adopted });
        self.adopt(name);
    }

    /// Adopts a set if all of its members are held in the versions that it names.
    pub(super) fn adopt(&mut self, name: &SetName) {
        let Some(state) = self.next.sets.get(name) else { return };
        let Some(complete) = self.complete(&state.told) else { return };
        if state.adopted.as_ref().is_some_and(|ruling| ruling.is_like(&complete)) {
            return;
        }
        let told = state.told.clone();
        self.next.sets.insert(name.clone(), SetState { told, adopted: Some(Arc::new(complete)) });
        self.touched.sets.insert(name.clone());
    }

    fn complete(&self, told: &PolicySet) -> Option<AdoptedSet> {
        let held = |member: &PolicyRef| {
            let policy = self.next.policies.get(&member.name)?;
            let meant = member.version.as_ref().is_none_or(|version| *version == policy.version);
            meant.then(|| policy.clone())
        };
        let stages = told
            .stages
            .iter()
            .map(|stage| {
                let policies = stage.policies.iter().map(held).collect::<Option<Vec<_>>>()?;
                Some(AdoptedStage { kind: stage.kind, policies })
            })
            .collect::<Option<Vec<_>>>()?;
        let guards = told.guards.iter().map(|name| self.next.guards.get(name).cloned());
        let guards = guards.collect::<Option<Vec<_>>>()?;
        let quotas = told.quotas.iter().map(|name| self.next.quotas.get(name).cloned());
        let quotas = quotas.collect::<Option<Vec<_>>>()?;
        let demand = stages
            .iter()
            .flat_map(|stage| &stage.policies)
            .fold(Demand::default(), |demand, policy| demand.and(policy.demand));
        Some(AdoptedSet {
            name: told.name.clone(),
            stages,
            default_access: told.default_access.clone(),
            guards,
            quotas,
            demand,
        })
    }
}

impl AdoptedSet {
    /// True if both judge alike: the same policies in the same versions and places, the same guards and quotas.
    fn is_like(&self, other: &Self) -> bool {
        self.default_access == other.default_access
            && self.guards == other.guards
            && self.quotas == other.quotas
            && self.stages.len() == other.stages.len()
            && self.stages.iter().zip(&other.stages).all(|(ours, theirs)| {
                ours.kind == theirs.kind
                    && ours.policies.len() == theirs.policies.len()
                    && ours
                        .policies
                        .iter()
                        .zip(&theirs.policies)
                        .all(|(ours, theirs)| ours.name == theirs.name && ours.version == theirs.version)
            })
    }
}

fn members(set: &PolicySet) -> impl Iterator<Item = &ObjectName> {
    let policies = set.stages.iter().flat_map(|stage| &stage.policies).map(|member| &member.name);
    policies.chain(&set.guards).chain(&set.quotas)
}
