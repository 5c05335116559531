//! Takes what the control plane tells: the next snapshot is made and swapped in, and what it means is carried out.
//!
//! In this order: roots to believe, identities to hold, the swap, then everyone who used what changed is judged
//! again. So nobody is judged by a snapshot whose roots are not believed yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use identity::{Anchors, Keeper};
use mesh::{
    admission,
    resource::{Key, Kind},
    snapshot::{Change, NoExpressions, Rejected, Snapshot, Touched},
};
use tokio::sync::watch;
use transport::{Bundles, Credentials as _, Pool};
use wire::{
    Want,
    report::{Record, Reporter},
    subscribe::{Batch, Origin, Receiver},
};

use crate::{connections::Connections, peer::tls_peer, world::World};

/// Applies batches to the world of a node.
pub(crate) struct Receive {
    pub(crate) world: World,
    pub(crate) keeper: Keeper,
    pub(crate) connections: Connections,
    pub(crate) pool: Pool,
    pub(crate) reporter: Reporter,
    pub(crate) swaps: watch::Sender<u64>,
    /// Roots, for the channel to the control plane.
    pub(crate) anchors: Anchors,
}

impl Receiver for Receive {
    fn apply(&mut self, batch: Batch) -> Vec<Rejected> {
        let versions: Vec<_> = batch.changes.iter().map(told).collect();
        let applied = self.world.load().snapshot.apply(batch.changes, &NoExpressions);
        let (snapshot, touched) = (applied.snapshot, applied.touched);
        let live = batch.origin == Origin::ControlPlane;
        if !touched.trust_domains.is_empty() || live && !self.anchors.live() {
            let bundles = Arc::new(bundles(&snapshot));
            self.anchors.tell(bundles.clone(), live);
            self.keeper.set_bundles(bundles);
        }
        if !touched.placements.is_empty() || !touched.workloads.is_empty() {
            self.keeper.set_wanted(&local_identities(&snapshot));
        }
        let number = self.world.swap(snapshot.clone());
        self.retire(&snapshot, &touched);
        self.renew(&snapshot, &touched);
        let closed = self.connections.judge(number, &snapshot, &touched);
        tracing::debug!(number, closed, origin = ?batch.origin, "a checkpoint is in force");
        self.swaps.send_replace(number);
        self.tell(versions, &applied.rejected);
        applied.rejected
    }

    fn in_use(&self, want: &Want) -> bool {
        // What runs does not ask again for where it goes, and what begins asks anew.
        let _ = want;
        false
    }
}

impl Receive {
    /// Tunnels to peers that are not believed any more take no new streams.
    fn retire(&self, snapshot: &Snapshot, touched: &Touched) {
        if !touched.identities.is_empty() || !touched.trust_domains.is_empty() {
            self.pool.retire_where(|_, peer| admission::believed(snapshot, &tls_peer(peer)).is_err());
        }
        for workload in touched.workloads.iter().filter(|uid| snapshot.placement(uid).is_none()) {
            self.pool.retire_source(workload);
        }
        // In a tunnel that a revoked certificate opened, the next one counts for nothing.
        let revoked = snapshot.placements().filter(|placement| {
            let workload = snapshot.workload(&placement.workload);
            workload.is_some_and(|workload| touched.identities.contains(&workload.identity))
        });
        revoked.for_each(|placement| self.pool.retire_source(&placement.workload));
    }

    /// A certificate issued since is good: what was revoked asks for one.
    fn renew(&self, snapshot: &Snapshot, touched: &Touched) {
        for identity in &touched.identities {
            let held = self.keeper.current(identity);
            if held.is_ok_and(|held| admission::believed(snapshot, &tls_peer(held.own())).is_err()) {
                self.keeper.renew(identity);
            }
        }
    }

    /// Tells which versions of policies are in force here, and what was refused.
    fn tell(&self, told: Vec<(Key, Option<mesh::names::Version>)>, rejected: &[Rejected]) {
        let refused: BTreeMap<_, _> = rejected.iter().map(|it| (&it.key, &*it.reason)).collect();
        for (key, version) in told {
            let refused = refused.get(&key).map(|reason| Arc::from(*reason));
            if refused.is_some() || matches!(key.kind, Kind::Policy | Kind::PolicySet) {
                self.reporter.record(Record::Applied { key, version, refused });
            }
        }
    }
}

fn told(change: &Change) -> (Key, Option<mesh::names::Version>) {
    match change {
        Change::Set(version, resource) => (resource.key(), Some(version.clone())),
        Change::Remove(key) => (key.clone(), None),
    }
}

/// The identities of the workloads that are placed here.
fn local_identities(snapshot: &Snapshot) -> BTreeSet<mesh::Identity> {
    let placed = snapshot.placements().filter_map(|placement| snapshot.workload(&placement.workload));
    placed.map(|workload| workload.identity.clone()).collect()
}

/// Whom to believe. A root that cannot be read is none; the others of its trust domain stand.
fn bundles(snapshot: &Snapshot) -> Bundles {
    let read = |root: &Arc<str>| {
        STANDARD.decode(&**root).inspect_err(|error| tracing::error!(%error, "a root cannot be read")).ok()
    };
    snapshot
        .bundles()
        .map(|bundle| (bundle.trust_domain.clone(), bundle.roots.iter().filter_map(read).collect()))
        .collect()
}
