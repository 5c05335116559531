//! Recomputes what an edit touches, and nothing else.
//!
//! *Flow.* An edit changes facts. Whoever read one of them, and whoever is named after one of them, is
//! computed again; what a computation made before and no longer makes is removed.
//! *Guarantee.* The result is the same as if everything were computed from scratch, whatever the order of
//! edits, because a computation is a function of what it reads and all that it reads is noted.
//! *Caveat.* Two computations may make the same resource (a policy set that workloads share) only if they make
//! it equal; it stays until the last of them lets it go. A Gateway that is written where one was made differs; objects
//! are computed first, so what is written stands when what was made is let go.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use api::{Kind, Name};
use mesh::{
    identity::Identity,
    resource::{Key, Resource},
};

use crate::{
    addresses::Owner,
    compute,
    facts::Fact,
    labels,
    made::{Computation, Exports, Made},
    reader::Reader,
    settings::Settings,
    status::Status,
    world::{Edit, Mark, Past, World},
};

/// Everything that is computed, whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// What proxies are told, by key.
    pub resources: BTreeMap<Key, Resource>,
    /// What is told of objects.
    pub statuses: BTreeMap<Name, Status>,
    /// What is told to other clusters, by ClusterLink.
    pub exports: BTreeMap<Arc<str>, Exports>,
}

/// What edits changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// New and changed resources.
    pub set: Vec<Resource>,
    /// Resources that are gone.
    pub removed: Vec<Key>,
    /// Statuses that changed; None: there is none any more.
    pub statuses: Vec<(Name, Option<Status>)>,
    /// Links whose exports changed; None: nothing is exported any more.
    pub exports: Vec<(Arc<str>, Option<Exports>)>,
    /// How much was computed: how many computations ran.
    pub computed: usize,
}

impl Difference {
    /// True if workloads came, changed or went.
    pub fn touches_workloads(&self) -> bool {
        let set = self.set.iter().any(|resource| matches!(resource, Resource::Workload(_)));
        set || self.removed.iter().any(|key| key.kind == mesh::resource::Kind::Workload)
    }

    /// True if nothing changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.removed.is_empty() && self.statuses.is_empty() && self.exports.is_empty()
    }
}

#[derive(Clone)]
struct Done {
    read: BTreeSet<Fact>,
    made: Made,
}

/// Holds a World and what follows from it.
#[derive(Clone)]
pub struct Translator {
    world: World,
    done: BTreeMap<Computation, Done>,
    readers: HashMap<Fact, BTreeSet<Computation>>,
    makers: BTreeMap<Key, BTreeSet<Computation>>,
    tellers: BTreeMap<Name, BTreeSet<Computation>>,
    output: Output,
}

/// Most rounds in which marks may change what was computed: a mark follows from a binding and only keeps it.
const ROUNDS_MAX: usize = 4;

impl Translator {
    /// Begins with an empty World that has a past, and says what follows from that.
    pub fn new(settings: Settings, past: Past) -> (Self, Difference) {
        let revoked: Vec<Identity> = past.revocations.iter().map(|(identity, _)| identity.clone()).collect();
        let mut translator = Self {
            world: World::new(settings, past),
            done: BTreeMap::new(),
            readers: HashMap::new(),
            makers: BTreeMap::new(),
            tellers: BTreeMap::new(),
            output: Output::default(),
        };
        let mut first: BTreeSet<Computation> = revoked.into_iter().map(Computation::Revocation).collect();
        first.insert(Computation::Ranges);
        let mut change = Change::default();
        translator.compute(first, &mut change);
        let difference = change.against(&translator.output);
        (translator, difference)
    }

    /// Applies edits together and says what follows.
    pub fn apply(&mut self, edits: impl IntoIterator<Item = Edit>) -> Difference {
        let mut change = Change::default();
        let mut changed: BTreeSet<Fact> = edits.into_iter().flat_map(|edit| self.world.edit(edit)).collect();
        for _ in 0..ROUNDS_MAX {
            if changed.is_empty() {
                break;
            }
            let touched = self.touched(&changed);
            let marks = self.compute(touched, &mut change);
            changed = marks.into_iter().flat_map(|mark| self.world.edit(Edit::Mark(mark))).collect();
        }
        change.against(&self.output)
    }

    /// Everything that follows from the World.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The World.
    pub fn world(&self) -> &World {
        &self.world
    }

    fn touched(&self, changed: &BTreeSet<Fact>) -> BTreeSet<Computation> {
        let mut touched = BTreeSet::new();
        for fact in changed {
            touched.extend(self.readers.get(fact).into_iter().flatten().cloned());
            match fact {
                Fact::Object(name) => {
                    touched.insert(Computation::Object(name.clone()));
                    match name.kind {
                        Kind::Namespace => {
                            touched.insert(Computation::AutoWaypoint(name.name.as_str().into()))
                        }
                        Kind::Service | Kind::MeshWorkload | Kind::Gateway => {
                            touched.insert(Computation::AutoWaypoint(name.namespace.as_str().into()))
                        }
                        Kind::ClusterLink => {
                            // What a link imports depends on its mapping: every name that it ever made is asked again.
                            touched.extend(compute::import::of_link(&self.world, &name.name));
                            touched.insert(Computation::Exports(name.name.as_str().into()))
                        }
                        _ => false,
                    };
                }
                Fact::Bundle(trust_domain) => {
                    touched.insert(Computation::Bundle(trust_domain.clone()));
                }
                Fact::Revoked(identity) => {
                    touched.insert(Computation::Revocation(identity.clone()));
                }
                Fact::Exported(link, name) => {
                    touched.extend(compute::import::of_export(&self.world, link, name));
                }
                _ => {}
            }
        }
        touched
    }

    /// Runs computations; returns the marks that are new.
    fn compute(&mut self, touched: BTreeSet<Computation>, change: &mut Change) -> Vec<Mark> {
        let mut marks = Vec::new();
        for computation in touched {
            change.computed += 1;
            let reader = Reader::new(&self.world);
            let made = compute::run(&computation, &reader);
            let read = reader.into_read();
            if made == Made::default() {
                self.release(&computation);
            }
            marks.extend(made.marks.iter().cloned());
            self.replace(computation, read, made, change);
        }
        marks
    }

    /// Who makes nothing any more needs no address.
    fn release(&mut self, computation: &Computation) {
        let owner = match computation {
            Computation::Object(name) => Owner::Object(name.clone()),
            Computation::AutoWaypoint(namespace) => Owner::Object(labels::auto_waypoint(namespace)),
            Computation::Import(namespace, name) => {
                Owner::Import { namespace: namespace.clone(), name: name.clone() }
            }
            _ => return,
        };
        // An auto waypoint and a Gateway of the same name are one owner: who still makes something keeps it.
        let (auto, object) = match &owner {
            Owner::Object(name) => {
                (Computation::AutoWaypoint(name.namespace.as_str().into()), Computation::Object(name.clone()))
            }
            Owner::Import { .. } => (computation.clone(), computation.clone()),
        };
        let other = if *computation == auto { object } else { auto };
        let shared = matches!(&owner, Owner::Object(name) if *name == labels::auto_waypoint(&name.namespace));
        if shared && self.done.get(&other).is_some_and(|done| done.made != Made::default()) {
            return;
        }
        let World { settings, addresses, .. } = &mut self.world;
        addresses.get_mut().release(settings, &owner);
    }

    fn replace(&mut self, computation: Computation, read: BTreeSet<Fact>, made: Made, change: &mut Change) {
        let before = self.done.remove(&computation);
        let (old_read, old_made) = before.map_or_else(Default::default, |done| (done.read, done.made));
        for fact in old_read.difference(&read) {
            self.forget(fact, &computation);
        }
        for fact in read.difference(&old_read) {
            self.readers.entry(fact.clone()).or_default().insert(computation.clone());
        }
        self.exchange(&computation, &old_made, &made, change);
        // An object that is gone is computed again when it comes back, whatever else changes meanwhile.
        let gone =
            matches!(&computation, Computation::Object(name) if !self.world.admitted.contains_key(name));
        if gone {
            for fact in &read {
                self.forget(fact, &computation);
            }
        } else {
            self.done.insert(computation, Done { read, made });
        }
    }

    fn forget(&mut self, fact: &Fact, reader: &Computation) {
        if let Some(readers) = self.readers.get_mut(fact) {
            readers.remove(reader);
            if readers.is_empty() {
                self.readers.remove(fact);
            }
        }
    }

    fn exchange(&mut self, computation: &Computation, old: &Made, new: &Made, change: &mut Change) {
        for (key, resource) in &new.resources {
            self.makers.entry(key.clone()).or_default().insert(computation.clone());
            if self.output.resources.get(key) != Some(resource) {
                change.resource(key, self.output.resources.insert(key.clone(), resource.clone()));
            }
        }
        for key in old.resources.keys().filter(|key| !new.resources.contains_key(*key)) {
            let Some(makers) = self.makers.get_mut(key) else { continue };
            makers.remove(computation);
            if makers.is_empty() {
                self.makers.remove(key);
                change.resource(key, self.output.resources.remove(key));
            }
        }
        if let Some((name, status)) = &new.status {
            self.tellers.entry(name.clone()).or_default().insert(computation.clone());
            if self.output.statuses.get(name) != Some(status) {
                change.status(name, self.output.statuses.insert(name.clone(), status.clone()));
            }
        }
        let untold = old.status.as_ref().map(|(name, _)| name);
        if let Some(name) = untold.filter(|name| new.status.as_ref().map(|(name, _)| name) != Some(name))
            && let Some(tellers) = self.tellers.get_mut(name)
        {
            tellers.remove(computation);
            if tellers.is_empty() {
                self.tellers.remove(name);
                change.status(name, self.output.statuses.remove(name));
            }
        }
        if old.exports != new.exports {
            if let Some(exports) = &old.exports {
                self.output.exports.remove(&exports.link);
                change.exports.insert(exports.link.clone());
            }
            if let Some(exports) = &new.exports {
                self.output.exports.insert(exports.link.clone(), exports.clone());
                change.exports.insert(exports.link.clone());
            }
        }
    }
}

/// What was there before the edits, of everything that they touched.
#[derive(Default)]
struct Change {
    resources: BTreeMap<Key, Option<Resource>>,
    statuses: BTreeMap<Name, Option<Status>>,
    exports: BTreeSet<Arc<str>>,
    computed: usize,
}

impl Change {
    fn resource(&mut self, key: &Key, before: Option<Resource>) {
        self.resources.entry(key.clone()).or_insert(before);
    }

    fn status(&mut self, name: &Name, before: Option<Status>) {
        self.statuses.entry(name.clone()).or_insert(before);
    }

    fn against(self, output: &Output) -> Difference {
        let mut difference = Difference { computed: self.computed, ..Difference::default() };
        for (key, before) in self.resources {
            match output.resources.get(&key) {
                Some(now) if Some(now) == before.as_ref() => {}
                Some(now) => difference.set.push(now.clone()),
                None if before.is_some() => difference.removed.push(key),
                None => {}
            }
        }
        for (name, before) in self.statuses {
            let now = output.statuses.get(&name);
            if now != before.as_ref() {
                difference.statuses.push((name, now.cloned()));
            }
        }
        for link in self.exports {
            difference.exports.push((link.clone(), output.exports.get(&link).cloned()));
        }
        difference
    }
}
