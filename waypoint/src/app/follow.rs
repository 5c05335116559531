//! Applies what the control plane tells: the swap, and everything that follows from it before it is acknowledged.

use std::{collections::BTreeMap, sync::Arc, time::UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh::{
    admission::{self, TlsPeer},
    resource::Key,
    snapshot::{Change, Rejected, Snapshot},
};
use transport::{Bundles, Credentials as _};
use wire::{
    Want,
    report::{Record, Reporter},
    subscribe::{Batch, Origin, Receiver},
};

use super::shared::Shared;

/// The receiver of a waypoint.
pub(super) struct Follower {
    shared: Arc<Shared>,
    reporter: Reporter,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, reporter: Reporter) -> Self {
        Self { shared, reporter }
    }
}

impl Receiver for Follower {
    fn apply(&mut self, batch: Batch) -> Vec<Rejected> {
        let shared = &*self.shared;
        let applied: Vec<(Key, Option<mesh::names::Version>)> = batch
            .changes
            .iter()
            .map(|change| match change {
                Change::Set(version, resource) => (resource.key(), Some(version.clone())),
                Change::Remove(key) => (key.clone(), None),
            })
            .collect();
        let (rejected, touched) = shared.worlds.apply(batch.changes, &expr::Cel);
        let world = shared.worlds.load();
        let live = batch.origin == Origin::ControlPlane;
        if !touched.trust_domains.is_empty() || live && !shared.anchors.live() {
            let bundles = Arc::new(bundles(&world.snapshot));
            shared.anchors.tell(Arc::clone(&bundles), live);
            shared.keeper.set_bundles(bundles);
        }
        if !touched.identities.is_empty() || !touched.trust_domains.is_empty() {
            // Whom we no longer believe gets no further stream in a tunnel that is open.
            shared.pool.retire_where(|_, peer| {
                touched.identities.contains(&peer.identity)
                    || touched.trust_domains.contains(peer.identity.trust_domain())
            });
            shared.worlds.trust_changed();
        }
        if touched.identities.contains(&shared.identity) {
            renew(shared, &world.snapshot);
        }
        let closed = shared.connections.judge_again(&world.snapshot, &touched, &*shared.judge);
        if closed > 0 {
            tracing::info!(closed, "closed what is no longer allowed");
        }
        for (key, version) in applied {
            let refused = rejected.iter().find(|it| it.key == key).map(|it| Arc::from(it.reason.as_str()));
            self.reporter.record(Record::Applied { key, version, refused });
        }
        for it in &rejected {
            tracing::warn!(key = %it.key, reason = %it.reason, "a resource is not taken; its last form stays");
        }
        rejected
    }

    fn in_use(&self, _: &Want) -> bool {
        // A waypoint is told what it serves and asks for nothing.
        false
    }
}

/// We were revoked: a certificate issued since is good, and only in tunnels that it opened.
fn renew(shared: &Shared, snapshot: &Snapshot) {
    let Ok(held) = shared.keeper.current(&shared.identity) else { return };
    let own = held.own();
    let not_before = own.not_before.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let peer = TlsPeer { identity: own.identity.clone(), not_before };
    if admission::believed(snapshot, &peer).is_err() {
        shared.pool.retire_all();
        shared.keeper.renew(&shared.identity);
    }
}

fn bundles(snapshot: &Snapshot) -> Bundles {
    let mut bundles = BTreeMap::new();
    for bundle in snapshot.bundles() {
        let roots = bundle.roots.iter().filter_map(|root| match STANDARD.decode(&**root) {
            Ok(der) => Some(der),
            Err(error) => {
                // One root less is believed, and never one more.
                tracing::warn!(trust_domain = bundle.trust_domain.as_str(), %error, "a root is no base64");
                None
            }
        });
        bundles.insert(bundle.trust_domain.clone(), roots.collect());
    }
    bundles
}
