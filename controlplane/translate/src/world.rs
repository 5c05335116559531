//! The World: everything that is accepted, stored or observed, with the indexes by which it is read.
//!
//! It only stores. Each edit says which facts it changed; `translator` finds who read them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use api::{Admitted, Kind, Name, Object};
use mesh::{
    identity::{Identity, TrustDomain},
    names::WorkloadUid,
    resource::Health,
};

use crate::{
    addresses::{Addresses, Claim, Owner, has_address},
    exports::{ExportedName, ExportedService},
    facts::{self, Fact},
    labels,
    names::created,
    settings::Settings,
};

/// What the past decides, besides the objects themselves. It is stored whole and given back at start.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// For each bound object, the Gateway through which it was once reached.
    pub marks: Vec<Mark>,
    /// The addresses that were given.
    pub addresses: Vec<(Owner, Ipv4Addr)>,
    /// Revocations: they only grow.
    pub revocations: Vec<(Identity, Since)>,
}

/// A binding that once worked: from then on its Gateway may not be missing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The object that has the label.
    pub bound: Name,
    /// The Gateway that it names.
    pub gateway: Name,
}

/// From when certificates of a revoked identity count again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// Certificates issued before are refused. Seconds since the Unix epoch.
    pub issued_before: u64,
    /// Why, for people.
    pub reason: Arc<str>,
}

/// The roots of one trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Grows with every change.
    pub sequence: u64,
    /// Root certificates, DER in base64.
    pub roots: Vec<Arc<str>>,
}

/// What can happen to the World.
#[derive(Debug, Clone)]
pub enum Edit {
    /// All objects as they are now.
    Objects(Vec<Admitted>),
    /// One object as it is now.
    Object(Box<Admitted>),
    /// One object is gone.
    Gone(Name),
    /// The roots of a trust domain, or that none are known.
    Bundle(TrustDomain, Option<Bundle>),
    /// Everything that a link exports to us.
    Exports(Arc<str>, Vec<ExportedService>),
    /// A revocation that a link told; it counts only for the link's own trust domain.
    Revoked(Identity, Since),
    /// Whether a workload works.
    Health(WorkloadUid, Health),
    /// Whether a proxy serves a Gateway now.
    Serving(Name, bool),
    /// The hash of the token of a workload's explicit proxy, in hex.
    Token(Name, Arc<str>),
    /// A binding worked.
    Mark(Mark),
}

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) settings: Settings,
    pub(crate) admitted: BTreeMap<Name, Arc<Admitted>>,
    /// Objects by what they are found by, besides their names.
    pub(crate) index: BTreeMap<Fact, BTreeSet<Name>>,
    pub(crate) bundles: BTreeMap<TrustDomain, Bundle>,
    pub(crate) exports: BTreeMap<Arc<str>, BTreeMap<ExportedName, Arc<ExportedService>>>,
    pub(crate) revoked: BTreeMap<Identity, Since>,
    pub(crate) unhealthy: BTreeSet<WorkloadUid>,
    pub(crate) serving: BTreeSet<Name>,
    pub(crate) marks: BTreeMap<Name, Name>,
    pub(crate) tokens: BTreeMap<Name, Arc<str>>,
    pub(crate) addresses: RefCell<Addresses>,
}

impl World {
    /// An empty World with a past.
    pub fn new(settings: Settings, past: Past) -> Self {
        let mut addresses = Addresses::default();
        addresses.restore(&settings, past.addresses.into_iter().collect());
        Self {
            settings,
            admitted: BTreeMap::new(),
            index: BTreeMap::new(),
            bundles: BTreeMap::new(),
            exports: BTreeMap::new(),
            revoked: past.revocations.into_iter().collect(),
            unhealthy: BTreeSet::new(),
            serving: BTreeSet::new(),
            marks: past.marks.into_iter().map(|mark| (mark.bound, mark.gateway)).collect(),
            tokens: BTreeMap::new(),
            addresses: RefCell::new(addresses),
        }
    }

    /// What must be stored so that a new World decides as this one.
    pub fn past(&self) -> Past {
        let marks =
            self.marks.iter().map(|(bound, gateway)| Mark { bound: bound.clone(), gateway: gateway.clone() });
        Past {
            marks: marks.collect(),
            addresses: self
                .addresses
                .borrow()
                .given()
                .iter()
                .map(|(owner, address)| (owner.clone(), *address))
                .collect(),
            revocations: self
                .revoked
                .iter()
                .map(|(identity, since)| (identity.clone(), since.clone()))
                .collect(),
        }
    }

    /// The objects, as they were admitted.
    pub fn admitted(&self) -> impl Iterator<Item = &Admitted> {
        self.admitted.values().map(Arc::as_ref)
    }

    /// Applies an edit and names the facts that changed.
    pub(crate) fn edit(&mut self, edit: Edit) -> BTreeSet<Fact> {
        let mut changed = BTreeSet::new();
        match edit {
            Edit::Objects(objects) => self.replace(objects, &mut changed),
            Edit::Object(admitted) => {
                let name = admitted.name();
                self.set(name, Some(*admitted), &mut changed);
            }
            Edit::Gone(name) => self.set(name, None, &mut changed),
            Edit::Bundle(trust_domain, bundle) => {
                let before = match bundle.clone() {
                    Some(bundle) => self.bundles.insert(trust_domain.clone(), bundle),
                    None => self.bundles.remove(&trust_domain),
                };
                if before != bundle {
                    changed.insert(Fact::Bundle(trust_domain));
                }
            }
            Edit::Exports(link, exports) => self.export(link, exports, &mut changed),
            Edit::Revoked(identity, since) => self.revoke(identity, since, &mut changed),
            Edit::Health(uid, health) => {
                let differs = match health {
                    Health::Healthy => self.unhealthy.remove(&uid),
                    Health::Unhealthy => self.unhealthy.insert(uid.clone()),
                };
                if differs {
                    changed.insert(Fact::Health(uid));
                }
            }
            Edit::Serving(gateway, serving) => {
                let differs = match serving {
                    true => self.serving.insert(gateway.clone()),
                    false => self.serving.remove(&gateway),
                };
                if differs {
                    changed.insert(Fact::Serving(gateway));
                }
            }
            Edit::Token(workload, hash) => {
                if self.tokens.insert(workload.clone(), hash.clone()) != Some(hash) {
                    changed.insert(Fact::Token(workload));
                }
            }
            Edit::Mark(mark) => {
                if self.marks.insert(mark.bound.clone(), mark.gateway.clone()) != Some(mark.gateway) {
                    changed.insert(Fact::Mark(mark.bound));
                }
            }
        }
        changed
    }

    fn replace(&mut self, objects: Vec<Admitted>, changed: &mut BTreeSet<Fact>) {
        let mut gone: BTreeSet<Name> = self.admitted.keys().cloned().collect();
        for admitted in objects {
            let name = admitted.name();
            gone.remove(&name);
            self.set(name, Some(admitted), changed);
        }
        for name in gone {
            self.set(name, None, changed);
        }
    }

    fn set(&mut self, name: Name, admitted: Option<Admitted>, changed: &mut BTreeSet<Fact>) {
        let before = self.admitted.get(&name).cloned();
        if same(before.as_deref(), admitted.as_ref()) {
            return;
        }
        let old = before.as_deref().and_then(Admitted::object).map(Arc::as_ref);
        let new = admitted.as_ref().and_then(Admitted::object).map(Arc::as_ref);
        for fact in facts::of_object(&name, old) {
            if let Some(names) = self.index.get_mut(&fact) {
                names.remove(&name);
                if names.is_empty() {
                    self.index.remove(&fact);
                }
            }
            changed.insert(fact);
        }
        for fact in facts::of_object(&name, new) {
            if fact.is_indexed() {
                self.index.entry(fact.clone()).or_default().insert(name.clone());
            }
            changed.insert(fact);
        }
        self.readdress(&name, old, new, changed);
        self.unmark(&name, new, changed);
        if let Some(Object::Revocation(revocation)) = new
            && let Some((identity, since)) = revocation_of(&revocation.spec)
        {
            self.revoke(identity, since, changed);
        }
        match admitted {
            Some(admitted) => self.admitted.insert(name, Arc::new(admitted)),
            None => self.admitted.remove(&name),
        };
    }

    fn readdress(
        &mut self,
        name: &Name,
        old: Option<&Object>,
        new: Option<&Object>,
        changed: &mut BTreeSet<Fact>,
    ) {
        if !has_address(name.kind) {
            return;
        }
        let (before, after) = (old.and_then(claim_of), new.and_then(claim_of));
        if before != after {
            if let Some(claim) = &before {
                self.addresses.get_mut().unclaim(&self.settings, claim);
                changed.insert(Fact::Claims(crate::addresses::spot(&self.settings, claim.address)));
            }
            if let Some(claim) = after {
                changed.insert(Fact::Claims(crate::addresses::spot(&self.settings, claim.address)));
                if let Some(moved) = self.addresses.get_mut().claim(&self.settings, claim) {
                    changed.insert(Fact::Address(moved));
                }
            }
        }
    }

    /// Only a change of the label ends a mark.
    fn unmark(&mut self, name: &Name, new: Option<&Object>, changed: &mut BTreeSet<Fact>) {
        let Some(gateway) = self.marks.get(name) else { return };
        let wanted =
            new.and_then(|object| labels::Label::of(object.labels(), &name_space_of(name)).gateway());
        if wanted.as_ref() != Some(gateway) {
            self.marks.remove(name);
            changed.insert(Fact::Mark(name.clone()));
        }
    }

    fn export(&mut self, link: Arc<str>, exports: Vec<ExportedService>, changed: &mut BTreeSet<Fact>) {
        let table = self.exports.entry(link.clone()).or_default();
        let new: BTreeMap<ExportedName, Arc<ExportedService>> =
            exports.into_iter().map(|export| (export.name.clone(), Arc::new(export))).collect();
        let names: BTreeSet<&ExportedName> = table.keys().chain(new.keys()).collect();
        for name in names {
            if table.get(name) != new.get(name) {
                changed.insert(Fact::Exported(link.clone(), name.clone()));
            }
        }
        if table.keys().ne(new.keys()) {
            changed.insert(Fact::ExportsOf(link.clone()));
        }
        *table = new;
    }

    fn revoke(&mut self, identity: Identity, since: Since, changed: &mut BTreeSet<Fact>) {
        let newer =
            self.revoked.get(&identity).is_none_or(|before| before.issued_before < since.issued_before);
        if newer {
            self.revoked.insert(identity.clone(), since);
            changed.insert(Fact::Revoked(identity));
        }
    }
}

/// True if nothing changed. An object that did not change is the same `Arc`, and needs no look into it.
fn same(before: Option<&Admitted>, after: Option<&Admitted>) -> bool {
    match (before, after) {
        (Some(Admitted::Accepted { object: before }), Some(Admitted::Accepted { object: after })) => {
            Arc::ptr_eq(before, after) || before == after
        }
        _ => before == after,
    }
}

fn name_space_of(name: &Name) -> String {
    match name.kind {
        Kind::Namespace => name.name.clone(),
        _ => name.namespace.clone(),
    }
}

fn revocation_of(spec: &api::revocation::RevocationSpec) -> Option<(Identity, Since)> {
    let at: jiff::Timestamp = spec.issued_before.as_str().parse().ok()?;
    let since = Since {
        issued_before: u64::try_from(at.as_second()).unwrap_or(0),
        reason: "revoked by a Revocation".into(),
    };
    Some((spec.identity.as_str().parse().ok()?, since))
}

/// The address that an object asks for.
fn claim_of(object: &Object) -> Option<Claim> {
    let text = match object {
        Object::MeshWorkload(workload) => workload.spec.addresses.first()?.as_str(),
        Object::Service(service) => service.spec.cluster_ip.as_deref()?,
        Object::Gateway(gateway) => gateway.spec.addresses.first()?.value.as_ref()?.as_str(),
        _ => return None,
    };
    let address = text.parse().ok()?;
    Some(Claim { created: created(object), owner: object.name(), address })
}
