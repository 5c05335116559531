//! The resources, compiled and shared: what every decision reads.
//!
//! A snapshot is immutable and cheap to clone: a small root over tables that share what did not change.
//! [`Snapshot::apply`] makes the next one. Nobody holds a snapshot across a wait; a connection keeps the
//! names of what it used, and [`Touched`] says whose judgement must be made again.

mod adopt;
mod apply;
mod check;
pub(crate) mod compile;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

pub use compile::{Compiled, Compiler, NoExpressions};

use crate::{
    identity::{Identity, TrustDomain},
    names::{Hostname, Network, ObjectName, ServiceKey, SetName, Version, WorkloadUid},
    resource::{
        Backend, Catalogue, DefaultAccess, Guard, Issuer, Key, Listener, MeshRanges, Placement, PolicySet,
        Quota, Resource, Revocation, Route, Secret, Service, StageKind, TrustBundle, Workload,
    },
};
use table::Table;

/// One change of what is told to a proxy.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The resource is now this, in this version.
    Set(Version, Resource),
    /// There is no such resource any more.
    Remove(Key),
}

impl Change {
    /// Which resource changes.
    pub fn key(&self) -> Key {
        match self {
            Self::Set(_, resource) => resource.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}

/// What came of applying changes.
#[derive(Debug)]
pub struct Applied {
    /// The next snapshot.
    pub snapshot: Snapshot,
    /// What was not taken; its last accepted form stays.
    pub rejected: Vec<Rejected>,
    /// What is not as it was.
    pub touched: Touched,
}

/// A resource that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub key: Key,
    /// Why.
    pub reason: String,
}

/// What changed between two snapshots, so that only holders of it are judged again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Policy sets that decide differently now: adopted, replaced or gone.
    pub sets: BTreeSet<SetName>,
    /// Identities that were revoked.
    pub identities: BTreeSet<Identity>,
    /// Trust domains whose roots changed, or that are known no longer.
    pub trust_domains: BTreeSet<TrustDomain>,
    /// Workloads that came, changed or went.
    pub workloads: BTreeSet<WorkloadUid>,
    /// Workloads whose placement came, changed or went.
    pub placements: BTreeSet<WorkloadUid>,
    /// Services that came, changed or went, or whose endpoints did.
    pub services: BTreeSet<ServiceKey>,
    /// Listeners, by resource name.
    pub listeners: BTreeSet<Arc<str>>,
    /// Routes.
    pub routes: BTreeSet<ObjectName>,
    /// Agent backends.
    pub backends: BTreeSet<ObjectName>,
    /// Tool catalogues.
    pub catalogues: BTreeSet<ObjectName>,
    /// Issuers of tokens, by short name.
    pub issuers: BTreeSet<Arc<str>>,
    /// Secrets.
    pub secrets: BTreeSet<ObjectName>,
    /// True if a mesh range or an absence changed.
    pub ranges: bool,
}

impl Touched {
    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything a proxy knows at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    workloads: Table<WorkloadUid, Arc<Workload>>,
    by_address: Table<(Network, IpAddr), Arc<BTreeSet<WorkloadUid>>>,
    placements: Table<WorkloadUid, Arc<Placement>>,
    services: Table<ServiceKey, Arc<Service>>,
    by_hostname: Table<Hostname, Arc<BTreeSet<ServiceKey>>>,
    by_vip: Table<IpAddr, Arc<BTreeSet<ServiceKey>>>,
    /// By the text of the service's key; also for services that are not held yet.
    endpoints: Table<Arc<str>, Arc<BTreeMap<WorkloadUid, Arc<Workload>>>>,
    policies: Table<ObjectName, Arc<Compiled>>,
    sets: Table<SetName, SetState>,
    /// Sets that name a policy, so that its arrival finds them.
    members: Table<ObjectName, Arc<BTreeSet<SetName>>>,
    absent_addresses: Table<(Network, IpAddr), ()>,
    absent_names: Table<Hostname, ()>,
    revocations: Table<Identity, Arc<Revocation>>,
    routes: Table<ObjectName, Arc<Route>>,
    ranges: Arc<BTreeMap<Network, Arc<MeshRanges>>>,
    bundles: Arc<BTreeMap<TrustDomain, Arc<TrustBundle>>>,
    listeners: Arc<BTreeMap<Arc<str>, Arc<Listener>>>,
    backends: Table<ObjectName, Arc<Backend>>,
    guards: Table<ObjectName, Arc<Guard>>,
    quotas: Table<ObjectName, Arc<Quota>>,
    catalogues: Table<ObjectName, Arc<Catalogue>>,
    issuers: Table<Arc<str>, Arc<Issuer>>,
    secrets: Table<ObjectName, Arc<Secret>>,
}

/// A set as it was told, and as it rules.
#[derive(Debug, Clone)]
struct SetState {
    told: Arc<PolicySet>,
    adopted: Option<Arc<AdoptedSet>>,
}

/// A policy set with all of its members.
#[derive(Debug)]
pub struct AdoptedSet {
    /// Its name.
    pub name: SetName,
    /// Its stages, in order.
    pub stages: Vec<AdoptedStage>,
    /// What holds where no Allow speaks.
    pub default_access: DefaultAccess,
    /// Guards; all apply.
    pub guards: Vec<Arc<Guard>>,
    /// Quotas; all apply.
    pub quotas: Vec<Arc<Quota>>,
    /// Which facts judging by it may need.
    pub demand: crate::facts::Demand,
}

/// One stage, with its policies.
#[derive(Debug)]
pub struct AdoptedStage {
    /// Which stage.
    pub kind: StageKind,
    /// Its policies, in the order that settles ties.
    pub policies: Vec<Arc<Compiled>>,
}

impl Snapshot {
    /// A workload.
    pub fn workload(&self, uid: &WorkloadUid) -> Option<&Arc<Workload>> {
        self.workloads.get(uid)
    }

    /// Every workload, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.iter().map(|(_, workload)| workload)
    }

    /// Who has an address. Two that claim one are a mistake; the first uid wins, and the other's peer check fails.
    pub fn workload_at(&self, network: &Network, address: IpAddr) -> Option<&Arc<Workload>> {
        let owners = self.by_address.get(&(network.clone(), address.to_canonical()))?;
        self.workloads.get(owners.first()?)
    }

    /// Where a local workload's process is. Only its node is told.
    pub fn placement(&self, uid: &WorkloadUid) -> Option<&Arc<Placement>> {
        self.placements.get(uid)
    }

    /// Every placement, in no order.
    pub fn placements(&self) -> impl Iterator<Item = &Arc<Placement>> {
        self.placements.iter().map(|(_, placement)| placement)
    }

    /// A service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().map(|(_, service)| service)
    }

    /// The service that a name means to a caller in a namespace: one of its own namespace first.
    pub fn service_named(&self, host: &Hostname, namespace: &str) -> Option<&Arc<Service>> {
        self.services.get(preferred(self.by_hostname.get(host)?, namespace)?)
    }

    /// The service that has a virtual address, seen from a namespace.
    pub fn service_at(&self, address: IpAddr, namespace: &str) -> Option<&Arc<Service>> {
        self.services.get(preferred(self.by_vip.get(&address.to_canonical())?, namespace)?)
    }

    /// The service of a name that is exported to a trust domain.
    pub fn exported(&self, host: &Hostname, to: &TrustDomain) -> Option<&Arc<Service>> {
        let keys = self.by_hostname.get(host)?;
        keys.iter().filter_map(|key| self.services.get(key)).find(|service| service.exported_to.contains(to))
    }

    /// The workloads that serve a service, in the order of their uids.
    pub fn endpoints(&self, service: &ServiceKey) -> impl Iterator<Item = &Arc<Workload>> {
        self.endpoints.get(&*service.to_string()).into_iter().flat_map(|all| all.values())
    }

    /// A policy set as it rules; absent while it was never complete: then it refuses.
    pub fn set(&self, name: &SetName) -> Option<&Arc<AdoptedSet>> {
        self.sets.get(name)?.adopted.as_ref()
    }

    /// A policy, in the version that is held.
    pub fn policy(&self, name: &ObjectName) -> Option<&Arc<Compiled>> {
        self.policies.get(name)
    }

    /// Every policy, in no order.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.policies.iter().map(|(_, policy)| policy)
    }

    /// Every mesh range, by network.
    pub fn ranges(&self) -> impl Iterator<Item = &Arc<MeshRanges>> {
        self.ranges.values()
    }

    /// The network of this cluster.
    pub fn local_network(&self) -> Option<&Network> {
        self.ranges.values().find(|ranges| ranges.local).map(|ranges| &ranges.network)
    }

    /// The bundle of a trust domain.
    pub fn bundle(&self, trust_domain: &TrustDomain) -> Option<&Arc<TrustBundle>> {
        self.bundles.get(trust_domain)
    }

    /// Every bundle, by trust domain.
    pub fn bundles(&self) -> impl Iterator<Item = &Arc<TrustBundle>> {
        self.bundles.values()
    }

    /// The revocation of an identity, if there is one.
    pub fn revocation(&self, identity: &Identity) -> Option<&Arc<Revocation>> {
        self.revocations.get(identity)
    }

    /// True if the control plane answered that an address is not in the mesh.
    pub fn is_absent_address(&self, network: &Network, address: IpAddr) -> bool {
        self.absent_addresses.contains(&(network.clone(), address))
    }

    /// True if the control plane answered that a name is not in the mesh.
    pub fn is_absent_name(&self, name: &Hostname) -> bool {
        self.absent_names.contains(name)
    }

    /// The listeners of gateways and waypoints.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.values()
    }

    /// A route.
    pub fn route(&self, name: &ObjectName) -> Option<&Arc<Route>> {
        self.routes.get(name)
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().map(|(_, route)| route)
    }

    /// Every agent backend, in no order.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter().map(|(_, backend)| backend)
    }

    /// An agent backend.
    pub fn backend(&self, name: &ObjectName) -> Option<&Arc<Backend>> {
        self.backends.get(name)
    }

    /// Every catalogue of tools, in no order.
    pub fn catalogues(&self) -> impl Iterator<Item = &Arc<Catalogue>> {
        self.catalogues.iter().map(|(_, catalogue)| catalogue)
    }

    /// A catalogue of tools.
    pub fn catalogue(&self, name: &ObjectName) -> Option<&Arc<Catalogue>> {
        self.catalogues.get(name)
    }

    /// An issuer of tokens, by its short name.
    pub fn issuer(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.issuers.get(name)
    }

    /// A secret.
    pub fn secret(&self, name: &ObjectName) -> Option<&Arc<Secret>> {
        self.secrets.get(name)
    }

    /// How many of each are held, for the admin page: workloads, services, policies, sets.
    pub fn counts(&self) -> [usize; 4] {
        [self.workloads.len(), self.services.len(), self.policies.len(), self.sets.len()]
    }
}

/// Several services may have one name or address: the caller's own namespace wins, then the order of keys.
fn preferred<'a>(keys: &'a BTreeSet<ServiceKey>, namespace: &str) -> Option<&'a ServiceKey> {
    keys.iter().find(|key| &*key.namespace == namespace).or_else(|| keys.first())
}
