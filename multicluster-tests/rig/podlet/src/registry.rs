//! The pods of this node as the kubelet's API sees them: the pod loops write, the server reads.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;

use crate::containers::Running;

/// All pods of the node, by namespace and name.
#[derive(Debug, Default)]
pub struct Pods {
    inner: RwLock<HashMap<(String, String), Arc<PodEntry>>>,
}

/// One pod.
#[derive(Debug)]
pub struct PodEntry {
    /// Its uid.
    pub uid: String,
    /// The folder of its logs; `paths::Paths::log` names the files in it.
    pub logs: PathBuf,
    state: RwLock<PodState>,
}

/// What changes of a pod.
#[derive(Debug, Clone)]
pub struct PodState {
    /// The pod as the API has it, with the status podlet gave it.
    pub pod: Arc<Pod>,
    /// Where its network namespace is mounted; `None` while there is none, or if it is the node's.
    pub netns: Option<PathBuf>,
    /// Whether there is a network to connect to (also true with the node's own).
    pub networked: bool,
    /// Its containers, init and ephemeral ones too, by name.
    pub containers: BTreeMap<String, ContainerEntry>,
}

/// One container of a pod.
#[derive(Debug, Clone, Default)]
pub struct ContainerEntry {
    /// If it runs.
    pub running: Option<Running>,
    /// Which life is the last that began, from 0; `None` if none ever did.
    pub attempt: Option<u32>,
    /// Why it waits, if it does, as the status has it.
    pub waiting: Option<String>,
}

impl ContainerEntry {
    /// Which life `kubectl logs` means, or `kubectl logs --previous`; `None` if there was none.
    pub fn logged(&self, previous: bool) -> Option<u32> {
        if previous { self.attempt?.checked_sub(1) } else { self.attempt }
    }
}

impl PodEntry {
    /// A pod that was just seen.
    pub fn new(uid: String, logs: PathBuf, pod: Arc<Pod>) -> Self {
        let state = PodState { pod, netns: None, networked: false, containers: BTreeMap::new() };
        Self { uid, logs, state: RwLock::new(state) }
    }

    /// What is, now.
    pub fn state(&self) -> PodState {
        self.state.read().clone()
    }

    /// One container, now.
    pub fn container(&self, name: &str) -> Option<ContainerEntry> {
        self.state.read().containers.get(name).cloned()
    }

    /// Changes what is.
    pub fn update(&self, change: impl FnOnce(&mut PodState)) {
        change(&mut self.state.write());
    }
}

impl Pods {
    /// The pod of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<PodEntry>> {
        self.inner.read().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<PodEntry>> {
        self.inner.read().values().cloned().collect()
    }

    /// Puts a pod here, in place of a former of the same name.
    pub fn put(&self, namespace: &str, name: &str, entry: Arc<PodEntry>) {
        self.inner.write().insert((namespace.to_owned(), name.to_owned()), entry);
    }

    /// Takes it away, unless another of the same name took its place.
    pub fn remove(&self, namespace: &str, name: &str, uid: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        let mut inner = self.inner.write();
        if inner.get(&key).is_some_and(|entry| entry.uid == uid) {
            inner.remove(&key);
        }
    }
}
