//! Under which roots a proxy believes its control plane: those it was given, until the control plane itself tells.
//!
//! *Guarantees*: once the control plane has told its bundle, that bundle alone counts, so a root that retired is no
//! longer believed. What was only read from a disk may be old, so it counts beside what was given.

use std::{fmt, sync::Arc};

use mesh::TrustDomain;
use parking_lot::RwLock;
use transport::Bundles;

/// The roots of a control plane's trust domain, as they were told. Clones share them.
#[derive(Clone, Default)]
pub struct Anchors(Arc<RwLock<Told>>);

#[derive(Default)]
struct Told {
    bundles: Option<Arc<Bundles>>,
    live: bool,
}

impl fmt::Debug for Anchors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Anchors").field("live", &self.0.read().live).finish_non_exhaustive()
    }
}

impl Anchors {
    /// Bundles were told: by the control plane itself (`live`), or by what the disk kept of it.
    pub fn tell(&self, bundles: Arc<Bundles>, live: bool) {
        let mut told = self.0.write();
        told.live |= live;
        told.bundles = Some(bundles);
    }

    /// True once the control plane itself told.
    pub fn live(&self) -> bool {
        self.0.read().live
    }

    /// Under which roots (DER) to believe the control plane now; `given` are those of the start.
    pub fn roots(&self, given: &[Vec<u8>], trust_domain: &TrustDomain) -> Vec<Vec<u8>> {
        let told = self.0.read();
        let bundle = told.bundles.as_ref().and_then(|bundles| bundles.get(trust_domain));
        match bundle {
            Some(roots) if told.live && !roots.is_empty() => roots.clone(),
            roots => {
                let mut all = given.to_vec();
                let more = roots.into_iter().flatten().filter(|root| !given.contains(root));
                all.extend(more.cloned());
                all
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_the_control_plane_told_counts_alone_and_what_the_disk_kept_beside_what_was_given() {
        let east: TrustDomain = "east".parse().unwrap();
        let (old, new) = (vec![1], vec![2]);
        let given = [old.clone()];
        let bundles = |roots: &[&Vec<u8>]| {
            Arc::new(BTreeMap::from([(east.clone(), roots.iter().copied().cloned().collect())]))
        };
        let anchors = Anchors::default();
        assert_eq!(anchors.roots(&given, &east), std::slice::from_ref(&old));
        anchors.tell(bundles(&[&old, &new]), false);
        assert_eq!(anchors.roots(&given, &east), [old.clone(), new.clone()]);
        anchors.tell(bundles(&[&new]), true);
        assert_eq!(anchors.roots(&given, &east), [new]);
        anchors.tell(bundles(&[]), true);
        assert_eq!(anchors.roots(&given, &east), [old], "nobody cuts itself off");
    }
}
