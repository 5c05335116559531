//! Makes the next snapshot from changes.
//!
//! A draft is a copy of the last snapshot that shares all of its tables; a change writes its own entry and
//! the indexes that follow from it, and notes what it touched.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    Applied, Change, Rejected, Snapshot, Touched,
    check::{self, Invalid},
    compile::{Compiled, Compiler},
    table::Table,
};
use crate::{
    identity::{Identity, TrustDomain},
    names::{Hostname, NetworkAddress, ObjectName, ServiceKey, Version, WorkloadUid},
    resource::{
        Absence, Key, Kind, MeshRanges, Policy, Resource, Revocation, Service, TrustBundle, Workload,
    },
};

impl Snapshot {
    /// Applies changes, in their order, to a copy.
    ///
    /// *Guarantees*: a resource that cannot be taken rejects only itself, and its last accepted form stays. The
    /// same changes in any order or partition (in order for each resource) end in the same state, and a policy
    /// set rules only with all of its members, in the versions that it names. *Caveats*: a revocation only
    /// grows, and its removal is not heeded.
    pub fn apply(&self, changes: Vec<Change>, compiler: &dyn Compiler) -> Applied {
        let mut draft = Draft { next: self.clone(), touched: Touched::default() };
        let mut rejected = Vec::new();
        for change in changes {
            let key = change.key();
            let done = match change {
                Change::Set(version, resource) => draft.set(version, resource, compiler),
                Change::Remove(key) => draft.remove(&key),
            };
            if let Err(Invalid(reason)) = done {
                rejected.push(Rejected { key, reason });
            }
        }
        Applied { snapshot: draft.next, rejected, touched: draft.touched }
    }
}

pub(super) struct Draft {
    pub(super) next: Snapshot,
    pub(super) touched: Touched,
}

impl Draft {
    fn set(&mut self, version: Version, resource: Resource, compiler: &dyn Compiler) -> Result<(), Invalid> {
        match resource {
            Resource::Ranges(ranges) => self.set_ranges(ranges),
            Resource::Bundle(bundle) => self.set_bundle(bundle),
            Resource::Revocation(revocation) => self.set_revocation(revocation),
            Resource::Workload(workload) => {
                check::workload(&workload)?;
                self.replace_workload(&workload.uid.clone(), Some(workload));
            }
            Resource::Placement(placement) => {
                check::placement(&placement)?;
                let uid = placement.workload.clone();
                if put(&mut self.next.placements, uid.clone(), placement) {
                    self.touched.placements.insert(uid);
                }
            }
            Resource::Service(service) => {
                check::service(&service)?;
                self.replace_service(&service.key.clone(), Some(service));
            }
            Resource::Absence(absence) => self.set_absence(&absence, true),
            Resource::Policy(policy) => self.set_policy(&policy, version, compiler)?,
            Resource::PolicySet(set) => {
                check::set(&set)?;
                self.replace_set(&set.name.clone(), Some(set));
            }
            Resource::Listener(listener) => {
                check::listener(&listener)?;
                let name: Arc<str> = listener.key_name().into();
                let old = Arc::make_mut(&mut self.next.listeners).insert(name.clone(), listener.clone());
                if old.as_ref() != Some(&listener) {
                    self.touched.listeners.insert(name);
                }
            }
            Resource::Route(route) => {
                check::route(&route)?;
                let name = route.name.clone();
                if put(&mut self.next.routes, name.clone(), route) {
                    self.touched.routes.insert(name);
                }
            }
            Resource::Backend(backend) => {
                let name = backend.name.clone();
                if put(&mut self.next.backends, name.clone(), backend) {
                    self.touched.backends.insert(name);
                }
            }
            Resource::Guard(guard) => {
                let name = guard.name.clone();
                if put(&mut self.next.guards, name.clone(), guard) {
                    self.touch_bounds(&name);
                }
            }
            Resource::Quota(quota) => {
                let name = quota.name.clone();
                if put(&mut self.next.quotas, name.clone(), quota) {
                    self.touch_bounds(&name);
                }
            }
            Resource::Catalogue(catalogue) => {
                let name = catalogue.name.clone();
                if put(&mut self.next.catalogues, name.clone(), catalogue) {
                    self.touched.catalogues.insert(name);
                }
            }
            Resource::Issuer(issuer) => {
                let name = issuer.name.name.clone();
                if put(&mut self.next.issuers, name.clone(), issuer) {
                    self.touched.issuers.insert(name);
                }
            }
            Resource::Secret(secret) => {
                let name = secret.name.clone();
                if put(&mut self.next.secrets, name.clone(), secret) {
                    self.touched.secrets.insert(name);
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, key: &Key) -> Result<(), Invalid> {
        let name = &*key.name;
        match key.kind {
            Kind::Ranges => {
                self.touched.ranges |= Arc::make_mut(&mut self.next.ranges).remove(name).is_some();
            }
            Kind::Bundle => {
                let trust_domain: TrustDomain = parsed(name)?;
                if Arc::make_mut(&mut self.next.bundles).remove(&trust_domain).is_some() {
                    self.touched.trust_domains.insert(trust_domain);
                }
            }
            // Revocations only grow.
            Kind::Revocation => {}
            Kind::Workload => self.replace_workload(&name.into(), None),
            Kind::Placement => {
                let uid: WorkloadUid = name.into();
                if self.next.placements.remove(&uid).is_some() {
                    self.touched.placements.insert(uid);
                }
            }
            Kind::Service => self.replace_service(&parsed(name)?, None),
            Kind::Absence if name.contains('/') => {
                self.set_absence(&Absence::Address(parsed::<NetworkAddress>(name)?), false);
            }
            Kind::Absence => self.set_absence(&Absence::Name(name.into()), false),
            // Sets that were adopted with it go on with it, until they are told otherwise.
            Kind::Policy => {
                self.next.policies.remove(&parsed::<ObjectName>(name)?);
            }
            Kind::PolicySet => self.replace_set(&name.into(), None),
            Kind::Listener => {
                if Arc::make_mut(&mut self.next.listeners).remove(name).is_some() {
                    self.touched.listeners.insert(name.into());
                }
            }
            Kind::Route => {
                let name: ObjectName = parsed(name)?;
                if self.next.routes.remove(&name).is_some() {
                    self.touched.routes.insert(name);
                }
            }
            Kind::Backend => {
                let name: ObjectName = parsed(name)?;
                if self.next.backends.remove(&name).is_some() {
                    self.touched.backends.insert(name);
                }
            }
            // Sets that were adopted with one go on with it, until they are told otherwise.
            Kind::Guard => drop(self.next.guards.remove(&parsed::<ObjectName>(name)?)),
            Kind::Quota => drop(self.next.quotas.remove(&parsed::<ObjectName>(name)?)),
            Kind::Catalogue => {
                let name: ObjectName = parsed(name)?;
                if self.next.catalogues.remove(&name).is_some() {
                    self.touched.catalogues.insert(name);
                }
            }
            Kind::Issuer => {
                let name: ObjectName = parsed(name)?;
                if self.next.issuers.remove(&name.name).is_some() {
                    self.touched.issuers.insert(name.name);
                }
            }
            Kind::Secret => {
                let name: ObjectName = parsed(name)?;
                if self.next.secrets.remove(&name).is_some() {
                    self.touched.secrets.insert(name);
                }
            }
        }
        Ok(())
    }

    /// Sets that name a guard or quota wait for it, or rule with what it is now.
    fn touch_bounds(&mut self, name: &ObjectName) {
        let waiting = self.next.members.get(name).cloned().unwrap_or_default();
        for set in waiting.iter() {
            self.adopt(set);
        }
    }

    fn set_ranges(&mut self, ranges: Arc<MeshRanges>) {
        let old = Arc::make_mut(&mut self.next.ranges).insert(ranges.network.clone(), ranges.clone());
        self.touched.ranges |= old.as_ref() != Some(&ranges);
    }

    fn set_bundle(&mut self, bundle: Arc<TrustBundle>) {
        let old = Arc::make_mut(&mut self.next.bundles).insert(bundle.trust_domain.clone(), bundle.clone());
        if old.as_ref() != Some(&bundle) {
            self.touched.trust_domains.insert(bundle.trust_domain.clone());
        }
    }

    fn set_revocation(&mut self, revocation: Arc<Revocation>) {
        let identity: &Identity = &revocation.identity;
        let held = self.next.revocations.get(identity).map_or(0, |held| held.issued_before);
        if held < revocation.issued_before {
            self.touched.identities.insert(identity.clone());
            self.next.revocations.insert(identity.clone(), revocation);
        }
    }

    fn set_absence(&mut self, absence: &Absence, absent: bool) {
        self.touched.ranges |= match absence {
            Absence::Address(NetworkAddress { network, address }) => {
                mark(&mut self.next.absent_addresses, (network.clone(), *address), absent)
            }
            Absence::Name(name) => mark(&mut self.next.absent_names, name.clone(), absent),
        };
    }

    fn set_policy(
        &mut self,
        policy: &Policy,
        version: Version,
        compiler: &dyn Compiler,
    ) -> Result<(), Invalid> {
        if self.next.policies.get(&policy.name).is_some_and(|held| held.version == version) {
            return Ok(());
        }
        let compiled = Compiled::new(policy, version, compiler).map_err(|e| Invalid(e.to_string()))?;
        self.next.policies.insert(policy.name.clone(), Arc::new(compiled));
        let waiting = self.next.members.get(&policy.name).cloned().unwrap_or_default();
        for set in waiting.iter() {
            self.adopt(set);
        }
        Ok(())
    }

    /// Takes, changes or drops a workload, and what is found by it.
    fn replace_workload(&mut self, uid: &WorkloadUid, new: Option<Arc<Workload>>) {
        let old = self.next.workloads.get(uid).cloned();
        if old == new {
            return;
        }
        if let Some(old) = &old {
            for address in &old.addresses {
                unlist(&mut self.next.by_address, &(old.network.clone(), address.to_canonical()), uid);
            }
            for service in old.services.keys() {
                self.touch_service(service);
                if new.as_ref().is_some_and(|new| new.services.contains_key(service)) {
                    continue;
                }
                if let Some(mut endpoints) = self.next.endpoints.remove(service) {
                    Arc::make_mut(&mut endpoints).remove(uid);
                    if !endpoints.is_empty() {
                        self.next.endpoints.insert(service.clone(), endpoints);
                    }
                }
            }
        }
        match new {
            Some(new) => {
                for address in &new.addresses {
                    enlist(&mut self.next.by_address, (new.network.clone(), address.to_canonical()), uid);
                }
                for service in new.services.keys() {
                    self.touch_service(service);
                    let mut endpoints = self.next.endpoints.remove(service).unwrap_or_default();
                    Arc::make_mut(&mut endpoints).insert(uid.clone(), new.clone());
                    self.next.endpoints.insert(service.clone(), endpoints);
                }
                self.next.workloads.insert(uid.clone(), new);
            }
            None => {
                self.next.workloads.remove(uid);
            }
        }
        self.touched.workloads.insert(uid.clone());
    }

    fn touch_service(&mut self, key: &str) {
        // Workloads are checked when they are taken: their keys can be read.
        if let Ok(key) = key.parse() {
            self.touched.services.insert(key);
        }
    }

    /// Takes, changes or drops a service, and what is found by it.
    fn replace_service(&mut self, key: &ServiceKey, new: Option<Arc<Service>>) {
        let old = self.next.services.get(key).cloned();
        if old == new {
            return;
        }
        if let Some(old) = &old {
            for name in names_of(old) {
                unlist(&mut self.next.by_hostname, name, key);
            }
            for address in &old.addresses {
                unlist(&mut self.next.by_vip, &address.to_canonical(), key);
            }
        }
        match new {
            Some(new) => {
                for name in names_of(&new) {
                    enlist(&mut self.next.by_hostname, name.clone(), key);
                }
                for address in &new.addresses {
                    enlist(&mut self.next.by_vip, IpAddr::to_canonical(address), key);
                }
                self.next.services.insert(key.clone(), new);
            }
            None => {
                self.next.services.remove(key);
            }
        }
        self.touched.services.insert(key.clone());
    }
}

fn names_of(service: &Service) -> impl Iterator<Item = &Hostname> {
    std::iter::once(&service.key.hostname).chain(&service.aliases)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str) -> Result<T, Invalid> {
    name.parse().map_err(|cause: T::Err| Invalid(cause.to_string()))
}

/// True if it was another, or not there.
fn put<K, V>(table: &mut Table<K, Arc<V>>, key: K, value: Arc<V>) -> bool
where
    K: std::hash::Hash + Eq + Clone,
    V: PartialEq,
{
    if table.get(&key) == Some(&value) {
        return false;
    }
    table.insert(key, value);
    true
}

/// True if the mark changed.
fn mark<K: std::hash::Hash + Eq + Clone>(table: &mut Table<K, ()>, key: K, present: bool) -> bool {
    match present {
        true => table.insert(key, ()).is_none(),
        false => table.remove(&key).is_some(),
    }
}

/// Adds a name to those found under a key.
pub(super) fn enlist<K, N>(index: &mut Table<K, Arc<BTreeSet<N>>>, key: K, name: &N)
where
    K: std::hash::Hash + Eq + Clone,
    N: Ord + Clone,
{
    let mut names = index.remove(&key).unwrap_or_default();
    Arc::make_mut(&mut names).insert(name.clone());
    index.insert(key, names);
}

/// Takes a name from those found under a key.
pub(super) fn unlist<K, N>(index: &mut Table<K, Arc<BTreeSet<N>>>, key: &K, name: &N)
where
    K: std::hash::Hash + Eq + Clone,
    N: Ord + Clone,
{
    if let Some(mut names) = index.remove(key) {
        Arc::make_mut(&mut names).remove(name);
        if !names.is_empty() {
            index.insert(key.clone(), names);
        }
    }
}
