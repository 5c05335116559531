//! Every resource there is, encoded once, with the indexes by which scopes find them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    net::IpAddr,
    sync::Arc,
};

use mesh::{
    identity::Identity,
    names::{Hostname, Network, NodeName, ServiceKey, Version},
    resource::{Key, Kind, PolicySet, Resource},
};

use super::{
    changed::Changed,
    edit::Edit,
    references::{members, references},
};
use crate::{
    Want,
    encode::{EncodeError, Encoded, encode},
};

/// All resources of one cluster, as published.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<Key, Entry>,
    kinds: BTreeMap<Kind, BTreeSet<Key>>,
    addresses: Index<IpAddr>,
    names: Index<Hostname>,
    nodes: Index<NodeName>,
    identities: Index<Identity>,
    /// Workloads by the key of a service that they serve, whether the service is there or not.
    endpoints: Index<Key>,
    /// Sets by the key of a policy that they name.
    sets: Index<Key>,
}

#[derive(Debug)]
struct Entry {
    resource: Resource,
    encoded: Encoded,
}

/// What an edit did to the edges between resources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Edges {
    /// From, to.
    pub(super) added: Vec<(Key, Key)>,
    /// From, to.
    pub(super) removed: Vec<(Key, Key)>,
}

/// What one edit did.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) changed: Changed,
    pub(super) edges: Edges,
    /// Sets whose bytes changed because a member's version did.
    pub(super) sets: Vec<Key>,
}

impl Table {
    /// A resource.
    pub fn get(&self, key: &Key) -> Option<&Resource> {
        self.entries.get(key).map(|entry| &entry.resource)
    }

    /// The version of a resource, as it is sent.
    pub fn version(&self, key: &Key) -> Option<&Version> {
        self.entries.get(key).map(|entry| &entry.encoded.version)
    }

    /// The keys of all resources of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Key> {
        self.kinds.get(&kind).into_iter().flatten()
    }

    /// The workloads that a node runs.
    pub fn on_node(&self, node: &NodeName) -> impl Iterator<Item = &Key> {
        self.nodes.of(node)
    }

    /// The workloads that run under an identity.
    pub fn of_identity(&self, identity: &Identity) -> impl Iterator<Item = &Key> {
        self.identities.of(identity)
    }

    /// The workloads that serve a service.
    pub fn endpoints(&self, service: &ServiceKey) -> impl Iterator<Item = &Key> {
        self.endpoints.0.get(&Key::new(Kind::Service, service)).into_iter().flatten()
    }

    /// The network whose addresses services have: that of the ranges that are local.
    pub fn network(&self) -> Option<&Network> {
        self.of_kind(Kind::Ranges).find_map(|key| match self.get(key) {
            Some(Resource::Ranges(ranges)) if ranges.local => Some(&ranges.network),
            _ => None,
        })
    }

    /// Workloads and services with an address; services and agent backends with a name.
    pub fn named(&self, want: &Want) -> BTreeSet<Key> {
        match want {
            Want::Address(wanted) => {
                let there = |key: &&Key| match self.get(key) {
                    Some(Resource::Workload(it)) => it.network == wanted.network,
                    Some(Resource::Service(_)) => self.network() == Some(&wanted.network),
                    _ => false,
                };
                self.addresses.of(&wanted.address).filter(there).cloned().collect()
            }
            Want::Name(name) => self.names.of(name).cloned().collect(),
        }
    }

    /// How many resources there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn encoded(&self, key: &Key) -> Option<&Encoded> {
        self.entries.get(key).map(|entry| &entry.encoded)
    }

    /// What a resource refers to; a service refers to its endpoints too, also before it is there.
    pub(super) fn references(&self, key: &Key) -> BTreeSet<Key> {
        let mut keys = self.get(key).map(references).unwrap_or_default();
        keys.extend(self.endpoints.of(key).cloned());
        keys
    }

    /// Makes an edit; `None`: it changed nothing.
    pub(super) fn edit(&mut self, edit: Edit) -> Result<Option<Effect>, EncodeError> {
        let (key, after) = match edit {
            Edit::Set(resource) => (resource.key(), Some(resource)),
            Edit::Remove(key) => (key, None),
        };
        let encoded = after.as_ref().map(|resource| self.encode(resource)).transpose()?;
        if self.encoded(&key) == encoded.as_ref() {
            return Ok(None);
        }
        let before = self.entries.remove(&key).map(|entry| entry.resource);
        if let Some(before) = &before {
            self.index(&key, before, false);
        }
        if let (Some(resource), Some(encoded)) = (&after, encoded) {
            self.index(&key, resource, true);
            self.entries.insert(key.clone(), Entry { resource: resource.clone(), encoded });
        }
        let sets = if key.kind == Kind::Policy { self.encode_sets_of(&key) } else { Vec::new() };
        let edges = Edges::between(&key, before.as_ref(), after.as_ref());
        Ok(Some(Effect { changed: Changed { key, before, after }, edges, sets }))
    }

    fn encode(&self, resource: &Resource) -> Result<Encoded, EncodeError> {
        match resource {
            Resource::PolicySet(set) => encode(&Resource::PolicySet(Arc::new(self.with_versions(set)))),
            other => encode(other),
        }
    }

    /// The set with the versions of its members as they are now; none where a member is not there.
    fn with_versions(&self, set: &PolicySet) -> PolicySet {
        let mut set = set.clone();
        for member in set.stages.iter_mut().flat_map(|stage| &mut stage.policies) {
            member.version = self.version(&Key::new(Kind::Policy, &member.name)).cloned();
        }
        set
    }

    fn encode_sets_of(&mut self, policy: &Key) -> Vec<Key> {
        let sets: Vec<Key> = self.sets.of(policy).cloned().collect();
        let encode = |key: &Key| self.get(key).map(|set| self.encode(set));
        let encoded: Vec<_> = sets.into_iter().filter_map(|key| Some((encode(&key)?, key))).collect();
        let mut changed = Vec::new();
        for (encoded, key) in encoded {
            match (encoded, self.entries.get_mut(&key)) {
                (Ok(encoded), Some(entry)) if entry.encoded != encoded => {
                    entry.encoded = encoded;
                    changed.push(key);
                }
                // It keeps the bytes that name the former version, which no longer comes: refused, not opened.
                (Err(error), _) => tracing::error!(%key, %error, "a policy set cannot name its new member"),
                (Ok(_), _) => {}
            }
        }
        changed
    }

    fn index(&mut self, key: &Key, resource: &Resource, there: bool) {
        put(self.kinds.entry(key.kind).or_default(), key, there);
        match resource {
            Resource::Workload(it) => {
                self.nodes.put(it.node.clone(), key, there);
                self.identities.put(it.identity.clone(), key, there);
                for address in &it.addresses {
                    self.addresses.put(*address, key, there);
                }
                for service in it.services.keys() {
                    self.endpoints.put(Key::new(Kind::Service, service), key, there);
                }
            }
            Resource::Service(it) => {
                for address in &it.addresses {
                    self.addresses.put(*address, key, there);
                }
                for name in it.aliases.iter().chain([&it.key.hostname]) {
                    self.names.put(name.clone(), key, there);
                }
            }
            Resource::Backend(it) => {
                for name in &it.hostnames {
                    self.names.put(name.clone(), key, there);
                }
            }
            Resource::PolicySet(it) => {
                for policy in members(it) {
                    self.sets.put(Key::new(Kind::Policy, policy), key, there);
                }
            }
            _ => {}
        }
    }
}

impl Edges {
    fn between(key: &Key, before: Option<&Resource>, after: Option<&Resource>) -> Self {
        let (old, new) = (edges(key, before), edges(key, after));
        Self {
            added: new.difference(&old).cloned().collect(),
            removed: old.difference(&new).cloned().collect(),
        }
    }
}

/// The edges that a resource makes: from itself, and, for a workload, from the services that it serves.
fn edges(key: &Key, resource: Option<&Resource>) -> BTreeSet<(Key, Key)> {
    let own = resource.map(references).unwrap_or_default();
    let mut edges: BTreeSet<_> = own.into_iter().map(|to| (key.clone(), to)).collect();
    if let Some(Resource::Workload(it)) = resource {
        edges.extend(it.services.keys().map(|service| (Key::new(Kind::Service, service), key.clone())));
    }
    edges
}

/// Keys of resources by something that they have.
#[derive(Debug)]
struct Index<T>(HashMap<T, BTreeSet<Key>>);

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Index<T> {
    fn of(&self, value: &T) -> impl Iterator<Item = &Key> {
        self.0.get(value).into_iter().flatten()
    }

    fn put(&mut self, value: T, key: &Key, there: bool) {
        if there {
            self.0.entry(value).or_default().insert(key.clone());
        } else if let Some(keys) = self.0.get_mut(&value) {
            keys.remove(key);
            if keys.is_empty() {
                self.0.remove(&value);
            }
        }
    }
}

fn put(keys: &mut BTreeSet<Key>, key: &Key, there: bool) {
    if there {
        keys.insert(key.clone());
    } else {
        keys.remove(key);
    }
}
