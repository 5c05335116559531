//! Who was given a certificate by the root that signs now: in a rotation, who needs the other root no longer.

use std::{collections::HashMap, time::SystemTime};

use mesh::Identity;

use crate::entitlement::Bearer;

/// Most holders that are remembered; the certificates of others are waited for until they end.
const HOLDERS_MAX: usize = 100_000;

/// When each holder was last given a certificate by the root that signs now.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    given: HashMap<Bearer, HashMap<Identity, SystemTime>>,
    count: usize,
}

impl Holders {
    pub(crate) fn note(&mut self, bearer: &Bearer, identity: &Identity, now: SystemTime) {
        if let Some(at) = self.given.get_mut(bearer).and_then(|given| given.get_mut(identity)) {
            *at = now;
        } else if self.count < HOLDERS_MAX {
            self.given.entry(bearer.clone()).or_default().insert(identity.clone(), now);
            self.count += 1;
        }
    }

    /// Another root signs from now on.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn last(&self, bearer: &Bearer, identity: &Identity) -> Option<SystemTime> {
        self.given.get(bearer)?.get(identity).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_who_asked_and_what_for() {
        let (at, identity): (_, Identity) =
            (SystemTime::UNIX_EPOCH, "spiffe://east/ns/a/sa/b".parse().unwrap());
        let (one, two) = (Bearer::Node("one".into()), Bearer::Node("two".into()));
        let mut holders = Holders::default();
        holders.note(&one, &identity, at);
        assert_eq!((holders.last(&one, &identity), holders.last(&two, &identity)), (Some(at), None));
        holders.clear();
        assert_eq!(holders.last(&one, &identity), None);
    }
}
