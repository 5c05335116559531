//! Links to other clusters: their bundles, and what they export to us.
//!
//! *Flow*: for each valid ClusterLink one task fetches the bundle (the first time by the pin of its root, later by
//! the bundle that is held), refreshes it, and reads the export stream of the one control plane that the link
//! names. What came last is kept on disk and counts until something newer comes. *Guarantees*: only identities and
//! revocations of the link's own trust domain are taken.

mod bundle;
mod follow;
mod kept;
mod shared;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::link::ClusterLinkSpec;
use base64::Engine as _;
use identity::Keeper;
use mesh::{Identity, TrustDomain};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use translate::{Edit, ExportedName, ExportedPort, ExportedService, Since};
use wire::export::{Exported, Peer};

use follow::Link;
use kept::Kept;
pub(crate) use shared::LinkRow;
use shared::{Plan, Shared};

/// Every link. Clones share them.
#[derive(Clone)]
pub(crate) struct Links {
    directory: PathBuf,
    own: Identity,
    keeper: Keeper,
    shared: Arc<Shared>,
    tasks: Arc<Mutex<BTreeMap<String, Task>>>,
    applied: Applied,
    /// By link: the sequence of our bundle that all proxies of the other cluster hold, as it told.
    acknowledged: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// The sequence of a trust domain's bundle that all our proxies hold.
pub(crate) type Applied = Arc<dyn Fn(&TrustDomain) -> Option<u64> + Send + Sync>;

struct Task {
    plan: Plan,
    running: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Links {
    pub(crate) fn new(
        state: &Path,
        own: Identity,
        keeper: Keeper,
        applied: Applied,
    ) -> std::io::Result<Self> {
        let directory = state.join("links");
        runtime::sealed::private_directory(&directory).map_err(std::io::Error::other)?;
        let (tasks, acknowledged) = (Arc::default(), Arc::default());
        Ok(Self { directory, own, keeper, shared: Arc::default(), tasks, applied, acknowledged })
    }

    /// A peer asked for our bundle; as the control plane of a link it may tell which one its proxies hold.
    pub(crate) fn told(&self, peer: &Peer, query: &str) {
        let Some(identity) = &peer.0 else { return };
        let applied = query.split('&').find_map(|pair| pair.strip_prefix(bundle::APPLIED)?.parse().ok());
        let Some(applied) = applied else { return };
        let tasks = self.tasks.lock();
        for (name, _) in tasks.iter().filter(|(_, task)| task.plan.identity == *identity) {
            self.acknowledged.lock().insert(name.clone(), applied);
        }
    }

    /// The links that are followed, their trust domains, and the sequence of our bundle that they told last.
    pub(crate) fn peers(&self) -> Vec<(String, TrustDomain, Option<u64>)> {
        let tasks = self.tasks.lock();
        let acknowledged = self.acknowledged.lock();
        let peer = |(name, task): (&String, &Task)| {
            (name.clone(), task.plan.trust_domain.clone(), acknowledged.get(name).copied())
        };
        tasks.iter().map(peer).collect()
    }

    /// Follows exactly these links from now on. What a new one told last, in an earlier run, is there at once.
    pub(crate) fn follow(&self, links: &BTreeMap<String, &ClusterLinkSpec>) {
        let mut tasks = self.tasks.lock();
        let mut rows = self.shared.rows.lock();
        tasks.retain(|name, _| links.contains_key(name));
        rows.retain(|name, _| links.contains_key(name));
        self.acknowledged.lock().retain(|name, _| links.contains_key(name));
        for (name, spec) in links {
            let plan = match Plan::of(spec) {
                Ok(plan) => plan,
                Err(problem) => {
                    tasks.remove(name);
                    rows.insert(
                        name.clone(),
                        LinkRow { name: name.clone(), problem: Some(problem), ..LinkRow::default() },
                    );
                    continue;
                }
            };
            if tasks.get(name).is_some_and(|task| task.plan == plan) {
                continue;
            }
            let row = LinkRow {
                name: name.clone(),
                trust_domain: plan.trust_domain.to_string(),
                problem: Some("its bundle was not fetched yet".to_owned()),
                ..LinkRow::default()
            };
            rows.insert(name.clone(), row);
            let kept = Kept::open(&self.directory, name, &plan.trust_domain, &plan.pin);
            let link = Link {
                name: name.clone(),
                plan: plan.clone(),
                own: self.own.clone(),
                keeper: self.keeper.clone(),
                applied: Arc::clone(&self.applied),
                shared: Arc::clone(&self.shared),
                kept: Arc::new(Mutex::new(kept)),
            };
            link.tell_kept(&mut rows);
            tasks.insert(name.clone(), Task { plan, running: tokio::spawn(link.run()) });
        }
    }

    /// Waits until a link told something.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// What links told since this was asked last, as edits, and the roots of their trust domains (DER).
    pub(crate) fn take(&self) -> (Vec<Edit>, BTreeMap<TrustDomain, Vec<Vec<u8>>>) {
        let told = std::mem::take(&mut *self.shared.told.lock());
        let mut edits = Vec::new();
        let mut roots = BTreeMap::new();
        for (trust_domain, bundle) in told.bundles {
            let encode = |root: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(root).into();
            let encoded = translate::Bundle {
                sequence: bundle.sequence,
                roots: bundle.roots.iter().map(encode).collect(),
            };
            edits.push(Edit::Bundle(trust_domain.clone(), Some(encoded)));
            roots.insert(trust_domain, bundle.roots);
        }
        for (link, (trust_domain, exports)) in told.exports {
            let mut services = Vec::new();
            for exported in exports {
                match exported {
                    Exported::Service(service) => services.push(service_of(service)),
                    Exported::Revocation(revocation)
                        if *revocation.identity.trust_domain() == trust_domain =>
                    {
                        let since =
                            Since { issued_before: revocation.issued_before, reason: revocation.reason };
                        edits.push(Edit::Revoked(revocation.identity, since));
                    }
                    Exported::Revocation(revocation) => {
                        tracing::warn!(link, identity = %revocation.identity, "a link may not revoke for others");
                    }
                }
            }
            edits.push(Edit::Exports(link.as_str().into(), services));
        }
        (edits, roots)
    }

    /// What is known of each link.
    pub(crate) fn rows(&self) -> Vec<LinkRow> {
        self.shared.rows.lock().values().cloned().collect()
    }
}

fn service_of(service: wire::export::ExportedService) -> ExportedService {
    let port = |(number, port): (u16, wire::export::ExportedPort)| {
        (number, ExportedPort { name: port.name, protocol: port.protocol })
    };
    ExportedService {
        served_by: match service.served_by {
            wire::export::ServedBy::Waypoint(identities) => translate::ServedBy::Waypoint(identities),
            wire::export::ServedBy::Workloads(identities) => translate::ServedBy::Workloads(identities),
        },
        vouchers: service.vouchers,
        name: ExportedName { namespace: service.namespace, name: service.name },
        ports: service.ports.into_iter().map(port).collect(),
        capacity: service.capacity,
        healthy: service.healthy,
    }
}
