//! Who exists now: which identities run on which node, and which gateways there are.
//!
//! The authority asks it before it signs, tokens are checked against it. It is replaced whole after each edit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use mesh::{Identity, names::NodeName, resource::Workload};
use tokio::sync::watch;
use wire::Caller;

/// Who exists now. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roll {
    now: Arc<ArcSwap<Entries>>,
    members: Arc<watch::Sender<Members>>,
}

/// Which programs a cluster needs now: whoever runs all of them in one process follows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// The nodes that a workload names.
    pub nodes: BTreeSet<NodeName>,
    /// The gateways and waypoints, by namespace and name.
    pub gateways: BTreeSet<(String, String)>,
}

/// What the roll says at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entries {
    nodes: BTreeMap<NodeName, BTreeSet<Identity>>,
    gateways: BTreeSet<Identity>,
}

impl Entries {
    /// Reads them from the workloads of this cluster.
    pub(crate) fn of<'a>(
        workloads: impl Iterator<Item = &'a Workload>,
        trust_domain: &mesh::TrustDomain,
    ) -> Self {
        let mut entries = Self::default();
        for workload in workloads {
            // What stands for another cluster's service runs nowhere here.
            if workload.identity.trust_domain() != trust_domain || workload.addresses.is_empty() {
                continue;
            }
            match is_gateway(workload) {
                true => entries.gateways.insert(workload.identity.clone()),
                false => {
                    entries.nodes.entry(workload.node.clone()).or_default().insert(workload.identity.clone())
                }
            };
        }
        entries
    }

    fn members(&self) -> Members {
        let names = |identity: &Identity| {
            identity.kubernetes().map(|(namespace, name)| (namespace.to_owned(), name.to_owned()))
        };
        Members {
            nodes: self.nodes.keys().cloned().collect(),
            gateways: self.gateways.iter().filter_map(names).collect(),
        }
    }
}

/// A gateway runs on no node of ours and has an address; what stands for a remote service has none.
pub(crate) fn is_gateway(workload: &Workload) -> bool {
    workload.node.as_str().is_empty() && !workload.addresses.is_empty()
}

impl Roll {
    /// Replaces it, and names the gateways that are gone.
    pub(crate) fn replace(&self, entries: Entries) -> BTreeSet<Identity> {
        let members = entries.members();
        let before = self.now.swap(Arc::new(entries));
        self.members.send_if_modified(|known| {
            let changed = *known != members;
            *known = members;
            changed
        });
        let after = self.now.load();
        before.gateways.difference(&after.gateways).cloned().collect()
    }

    /// Which programs the cluster needs, now and after each change.
    pub(crate) fn follow(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// Who must be connected, and holds certificates of which identities.
    pub(crate) fn holders(&self) -> Vec<(Caller, BTreeSet<Identity>)> {
        let now = self.now.load();
        let nodes =
            now.nodes.iter().map(|(name, placed)| (Caller::Node { name: name.clone() }, placed.clone()));
        let gateway = |identity: &Identity| {
            (Caller::Gateway { identity: identity.clone() }, BTreeSet::from([identity.clone()]))
        };
        nodes.chain(now.gateways.iter().map(gateway)).collect()
    }

    /// True if there is a gateway with this identity.
    pub(crate) fn is_gateway(&self, identity: &Identity) -> bool {
        self.now.load().gateways.contains(identity)
    }
}

impl authority::Placement for Roll {
    fn runs_on(&self, node: &NodeName, identity: &Identity) -> bool {
        self.now.load().nodes.get(node).is_some_and(|placed| placed.contains(identity))
    }
}
