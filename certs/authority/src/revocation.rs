//! What was revoked, as far as it bears on signing: nothing is refused here, for a newer certificate of a revoked
//! identity is good. But leaves begin a little before now, and one that began before the revocation would be
//! revoked too; so it begins no earlier. Time is an argument.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use mesh::Identity;

/// Most revocations that bear on signing at once. One more only costs its identity the time of the skew.
const REVOCATIONS_MAX: usize = 10_000;

/// For each identity the time before which its certificates are revoked.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    issued_before: BTreeMap<Identity, SystemTime>,
}

impl Revocations {
    /// Records one; it only grows. When there is no more room, those that no leaf can begin before are forgotten.
    pub(crate) fn record(
        &mut self,
        identity: &Identity,
        issued_before: SystemTime,
        skew: Duration,
        now: SystemTime,
    ) {
        if self.issued_before.len() >= REVOCATIONS_MAX && !self.issued_before.contains_key(identity) {
            self.issued_before.retain(|_, before| before.checked_add(skew).is_none_or(|still| still >= now));
            if self.issued_before.len() >= REVOCATIONS_MAX {
                tracing::warn!(%identity, "too many revocations at once: its next certificate may be revoked too");
                return;
            }
        }
        let before = self.issued_before.entry(identity.clone()).or_insert(issued_before);
        *before = issued_before.max(*before);
    }

    /// The earliest beginning of a new leaf that is not revoked.
    pub(crate) fn earliest(&self, identity: &Identity) -> Option<SystemTime> {
        self.issued_before.get(identity).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEW: Duration = Duration::from_secs(120);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn id(name: &str) -> Identity {
        format!("spiffe://east/{name}").parse().unwrap()
    }

    #[test]
    fn a_revocation_only_grows() {
        let mut revocations = Revocations::default();
        assert_eq!(revocations.earliest(&id("a")), None);
        for (issued_before, expected) in [(100, 100), (50, 100), (200, 200)] {
            revocations.record(&id("a"), at(issued_before), SKEW, at(100));
            assert_eq!(revocations.earliest(&id("a")), Some(at(expected)));
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_has_no_bearing() {
        let mut revocations = Revocations::default();
        for number in 0..REVOCATIONS_MAX {
            revocations.record(&id(&number.to_string()), at(0), SKEW, at(0));
        }
        revocations.record(&id("one-more"), at(0), SKEW, at(120));
        assert_eq!(revocations.earliest(&id("one-more")), None);
        revocations.record(&id("0"), at(1), SKEW, at(120));
        assert_eq!(revocations.earliest(&id("0")), Some(at(1)), "known ones always have room");
        revocations.record(&id("one-more"), at(121), SKEW, at(121));
        assert_eq!(revocations.earliest(&id("one-more")), Some(at(121)));
        assert_eq!(revocations.issued_before.len(), 2);
    }
}
