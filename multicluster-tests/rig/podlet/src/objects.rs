//! ConfigMaps and Secrets that pods of this node refer to, each watched by its name as long as
//! somebody holds it: what the node authorizer allows, and nothing more.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use tokio::{sync::watch, task::AbortHandle};

/// What an object holds.
pub type Data = Arc<BTreeMap<String, Vec<u8>>>;

/// How long one waits for the API server's first word on an object.
const FIRST_WAIT: Duration = Duration::from_secs(5);

/// ConfigMap or Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Of which kind.
    pub kind: Kind,
    /// In which namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectRef {
    /// Names one.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        };
        write!(formatter, "{kind} {:?}", self.name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// The API server has not answered yet.
    Nothing,
    Absent,
    Present(Data),
}

#[derive(Debug)]
struct Entry {
    seen: watch::Receiver<Seen>,
    watching: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// A hold on one object; the watch ends with the last of them.
#[derive(Debug, Clone)]
pub struct Held {
    seen: watch::Receiver<Seen>,
    _entry: Arc<Entry>,
}

/// The API server did not say whether an object exists.
#[derive(Debug, thiserror::Error)]
#[error("the API server has not answered about {0} within {FIRST_WAIT:?}")]
pub struct Unanswered(pub ObjectRef);

impl Held {
    /// What it holds now; `None` if it does not exist. Waits for the first answer only.
    ///
    /// # Errors
    /// When none comes.
    pub async fn get(&mut self, of: &ObjectRef) -> Result<Option<Data>, Unanswered> {
        let answered = self.seen.wait_for(|seen| *seen != Seen::Nothing);
        match tokio::time::timeout(FIRST_WAIT, answered).await {
            Ok(Ok(seen)) => Ok(match &*seen {
                Seen::Present(data) => Some(data.clone()),
                Seen::Absent | Seen::Nothing => None,
            }),
            _ => Err(Unanswered(of.clone())),
        }
    }

    /// Waits until it changes.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// All that are held.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    entries: Arc<Mutex<HashMap<ObjectRef, Weak<Entry>>>>,
}

impl Objects {
    /// None yet.
    pub fn new(client: Client) -> Self {
        Self { client, entries: Arc::default() }
    }

    /// Takes hold of one.
    pub fn hold(&self, of: &ObjectRef) -> Held {
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| entry.strong_count() > 0);
        if let Some(entry) = entries.get(of).and_then(Weak::upgrade) {
            return Held { seen: entry.seen.clone(), _entry: entry };
        }
        let (tell, seen) = watch::channel(Seen::Nothing);
        let watching = self.watch(of, tell);
        let entry = Arc::new(Entry { seen: seen.clone(), watching });
        entries.insert(of.clone(), Arc::downgrade(&entry));
        Held { seen, _entry: entry }
    }

    fn watch(&self, of: &ObjectRef, tell: watch::Sender<Seen>) -> AbortHandle {
        let only = watcher::Config::default().fields(&format!("metadata.name={}", of.name));
        let client = self.client.clone();
        match of.kind {
            Kind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(client, &of.namespace);
                tokio::spawn(follow(watcher(api, only), tell, config_map)).abort_handle()
            }
            Kind::Secret => {
                let api: Api<Secret> = Api::namespaced(client, &of.namespace);
                tokio::spawn(follow(watcher(api, only), tell, secret)).abort_handle()
            }
        }
    }
}

fn config_map(object: ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = object.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
    let bytes = object.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
    text.chain(bytes).collect()
}

fn secret(object: Secret) -> BTreeMap<String, Vec<u8>> {
    object.data.into_iter().flatten().map(|(key, value)| (key, value.0)).collect()
}

async fn follow<K: Send + Clone>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    tell: watch::Sender<Seen>,
    data: fn(K) -> BTreeMap<String, Vec<u8>>,
) {
    let events = events.default_backoff();
    pin_mut!(events);
    let mut found = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => found = false,
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                found = true;
                let new = Seen::Present(Arc::new(data(object)));
                tell.send_if_modified(|seen| std::mem::replace(seen, new.clone()) != new);
            }
            Ok(watcher::Event::InitDone) if !found => {
                tell.send_replace(Seen::Absent);
            }
            Ok(watcher::Event::InitDone) => {}
            Ok(watcher::Event::Delete(_)) => {
                tell.send_replace(Seen::Absent);
            }
            Err(error) => tracing::debug!(%error, "the watch of an object broke; it begins again"),
        }
    }
}
