//! The subscriber without I/O: responses in, requests out, batches to the program.
//!
//! It holds every resource in the form that the program accepted last, as bytes. A push is a draft until its
//! checkpoint; then the program applies it, and what it rejects stays as it was and is refused by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use mesh::{
    names::Version,
    resource::{Key, Kind, PolicySet, Resource},
};
use proto::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    google::rpc::Status,
    strait::v1,
};

use super::{
    Announcement, Batch, Checkpoint, Config, Origin, Receiver,
    draft::{Arrived, Draft, StreamError, Taken},
    wants::{Asked, Waiter, Wants},
};
use crate::{
    Change, Rejected, Want,
    encode::{CHECKPOINT_TYPE, decode, type_url, type_urls},
    store::Stored,
};

/// The name under which everything in scope is subscribed.
const EVERYTHING: &str = "*";
/// gRPC `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: i32 = 3;
/// Longest reason that is sent for one resource, in bytes.
const REASON_BYTES_MAX: usize = 512;
/// Most bytes of the message with which a response is refused.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// A subscriber as a state machine.
pub struct State {
    config: Config,
    receiver: Box<dyn Receiver>,
    held: BTreeMap<Key, Holding>,
    checkpoint: Option<Checkpoint>,
    /// True once the program was told what is held.
    told: bool,
    draft: Draft,
    wants: Wants,
    seen_as_of: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holding {
    version: Version,
    value: Bytes,
}

/// What a response led to.
#[derive(Debug, Default)]
pub struct Reply {
    /// To be sent.
    pub requests: Vec<DeltaDiscoveryRequest>,
    /// Set: this was a checkpoint.
    pub checkpoint: Option<Checkpoint>,
}

impl State {
    /// A subscriber that holds nothing.
    pub fn new(config: Config, receiver: Box<dyn Receiver>) -> Self {
        let wants = Wants::new(config.wants_max);
        Self {
            config,
            receiver,
            held: BTreeMap::new(),
            checkpoint: None,
            told: false,
            draft: Draft::default(),
            wants,
            seen_as_of: None,
        }
    }

    /// The checkpoint of what is held.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// True once the program was told what is held, from whatever origin.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Versions of everything that is held.
    pub fn versions(&self) -> impl Iterator<Item = (&Key, &Version)> {
        self.held.iter().map(|(key, holding)| (key, &holding.version))
    }

    /// Takes what was read from the disk. The program is not told before [`State::tell_from_disk`] or a checkpoint.
    pub fn restore(&mut self, stored: Stored) {
        for (key, version, value) in stored.resources {
            self.held.insert(key, Holding { version, value });
        }
        self.seen_as_of = stored.checkpoint.as_of;
        self.checkpoint = Some(Checkpoint { epoch: String::new(), ..stored.checkpoint });
    }

    /// Tells the program what was read from the disk; false if nothing was, or it knows better already.
    pub fn tell_from_disk(&mut self, age: std::time::Duration) -> bool {
        let Some(checkpoint) = self.checkpoint.clone().filter(|_| !self.told) else { return false };
        self.told = true;
        let changes = self.changes_of_held();
        let rejected = self.receiver.apply(Batch { changes, checkpoint, origin: Origin::Disk { age } });
        self.forget(&rejected);
        true
    }

    /// What is held, to be written.
    pub fn stored(&self, now: SystemTime) -> Option<Stored> {
        let entry = |(key, it): (&Key, &Holding)| (key.clone(), it.version.clone(), it.value.clone());
        Some(Stored {
            checkpoint: self.checkpoint.clone()?,
            written: now,
            resources: self.held.iter().map(entry).collect(),
        })
    }

    /// Begins a stream: what to send first. A draft of an earlier stream is gone.
    pub fn open(&mut self) -> Vec<DeltaDiscoveryRequest> {
        self.draft = Draft::default();
        let announcement = Announcement { seen_as_of: self.seen_as_of, ..self.config.announcement.clone() };
        let mut node = Some(announcement.write());
        let mut versions: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        for (key, holding) in &self.held {
            let of_type = versions.entry(type_url(key.kind)).or_default();
            of_type.insert(key.name.to_string(), holding.version.to_string());
        }
        let mut requests: Vec<_> = type_urls()
            .map(|url| DeltaDiscoveryRequest {
                node: node.take(),
                type_url: url.to_owned(),
                resource_names_subscribe: vec![EVERYTHING.to_owned()],
                initial_resource_versions: versions.remove(url).unwrap_or_default(),
                ..DeltaDiscoveryRequest::default()
            })
            .collect();
        if let Some(addresses) = requests.iter_mut().find(|it| it.type_url == type_url(Kind::Workload)) {
            addresses.resource_names_subscribe.extend(self.wants.names().map(ToString::to_string));
        }
        // Last, because the server begins when it is asked for.
        requests.push(DeltaDiscoveryRequest {
            type_url: CHECKPOINT_TYPE.to_owned(),
            resource_names_subscribe: vec![EVERYTHING.to_owned()],
            ..DeltaDiscoveryRequest::default()
        });
        requests
    }

    /// Takes a response.
    ///
    /// # Errors
    /// When the stream cannot go on; nothing of the draft counts.
    pub fn take(&mut self, response: DeltaDiscoveryResponse) -> Result<Reply, StreamError> {
        match self.draft.take(response)? {
            None => Ok(Reply::default()),
            Some(checkpoint) => self.finish(checkpoint),
        }
    }

    fn finish(&mut self, message: v1::Checkpoint) -> Result<Reply, StreamError> {
        let Draft { changes, mut taken, .. } = std::mem::take(&mut self.draft);
        let checkpoint =
            Checkpoint { epoch: message.epoch, generation: message.generation, as_of: message.as_of };
        if let Some(held) = self.checkpoint.as_ref().filter(|held| held.epoch == checkpoint.epoch)
            && held.generation > checkpoint.generation
        {
            return Err(StreamError::Backwards { before: held.generation, now: checkpoint.generation });
        }
        let rejected = self.apply(changes, &checkpoint);
        for Rejected { key, reason } in rejected {
            if let Some(response) = taken.iter_mut().rfind(|it| it.keys.contains(&key)) {
                response.refused.push((key.name.to_string(), reason));
            }
        }
        self.seen_as_of = self.seen_as_of.max(checkpoint.as_of);
        self.checkpoint = Some(checkpoint.clone());
        for want in message.answers.iter().filter_map(|name| name.parse::<Want>().ok()) {
            self.wants.settled(&want);
        }
        let requests = taken.into_iter().map(acknowledge).collect();
        Ok(Reply { requests, checkpoint: Some(checkpoint) })
    }

    /// Hands the changes on; what is not rejected is held from now on.
    fn apply(&mut self, arrived: BTreeMap<Key, Option<Arrived>>, checkpoint: &Checkpoint) -> Vec<Rejected> {
        let before: Vec<(Key, Holding)> =
            arrived.keys().filter_map(|key| Some((key.clone(), self.held.get(key)?.clone()))).collect();
        let mut changes = Vec::with_capacity(arrived.len());
        let mut told: BTreeSet<Key> = BTreeSet::new();
        let mut sets = Vec::new();
        for (key, now) in arrived {
            match now {
                Some(Arrived { version, value, resource }) => {
                    told.insert(key.clone());
                    if let Resource::PolicySet(set) = &resource {
                        sets.push(Arc::clone(set));
                    }
                    self.held.insert(key, Holding { version: version.clone(), value });
                    changes.push(Change::Set(version, resource));
                }
                None => {
                    self.held.remove(&key);
                    changes.push(Change::Remove(key));
                }
            }
        }
        if !self.told {
            // What the disk gave and the push did not touch is told now, with the push.
            let rest = self.changes_of_held();
            changes.extend(rest.into_iter().filter(|change| !told.contains(&change.key())));
        }
        changes.sort_by_cached_key(rank);
        let first = !std::mem::replace(&mut self.told, true);
        let batch = Batch { changes, checkpoint: checkpoint.clone(), origin: Origin::ControlPlane };
        let mut rejected = self.receiver.apply(batch);
        self.forget(&rejected);
        let incomplete: Vec<Rejected> = sets.iter().filter_map(|set| self.incomplete(set)).collect();
        self.forget(&incomplete);
        rejected.extend(incomplete);
        let old = before.into_iter().filter(|(key, _)| rejected.iter().any(|it| it.key == *key));
        let old: Vec<_> = old.collect();
        self.held.extend(old.iter().cloned());
        if first && !old.is_empty() {
            // The program has not seen these: the disk had them, and the push would have replaced them.
            let changes = old.iter().filter_map(|(key, holding)| change(key, holding)).collect();
            let batch = Batch { changes, checkpoint: checkpoint.clone(), origin: Origin::ControlPlane };
            let again = self.receiver.apply(batch);
            self.forget(&again);
        }
        rejected
    }

    /// A set that names a version of a policy that was rejected. The program goes on with the set that was complete
    /// before; so must its disk.
    fn incomplete(&self, set: &PolicySet) -> Option<Rejected> {
        let missing = set.stages.iter().flat_map(|stage| &stage.policies).find(|member| {
            let held = self.held.get(&Key::new(Kind::Policy, &member.name)).map(|holding| &holding.version);
            member.version.is_some() && held != member.version.as_ref()
        })?;
        let reason = format!("its member {} is not held in the version that it names", missing.name);
        Some(Rejected { key: Key::new(Kind::PolicySet, &set.name), reason })
    }

    /// Somebody asks for a name.
    pub fn ask(&mut self, want: Want, waiter: Waiter, now: Instant) -> Vec<DeltaDiscoveryRequest> {
        let Asked { new, gone } = self.wants.ask(want, waiter, now);
        if new.is_none() && gone.is_none() { Vec::new() } else { vec![names(new, gone)] }
    }

    /// Gives up names that nobody used for long.
    pub fn sweep(&mut self, now: Instant) -> Vec<DeltaDiscoveryRequest> {
        let receiver = &self.receiver;
        let gone = self.wants.sweep(now, self.config.want_idle, |want| receiver.in_use(want));
        if gone.is_empty() { Vec::new() } else { vec![names(None, gone)] }
    }

    fn changes_of_held(&mut self) -> Vec<Change> {
        let mut changes = Vec::with_capacity(self.held.len());
        self.held.retain(|key, holding| {
            let change = change(key, holding);
            let readable = change.is_some();
            changes.extend(change);
            readable
        });
        changes.sort_by_cached_key(rank);
        changes
    }

    fn forget(&mut self, rejected: &[Rejected]) {
        for Rejected { key, reason } in rejected {
            tracing::warn!(%key, reason, "a resource was rejected");
            self.held.remove(key);
        }
    }
}

/// What is held, as a change; `None` if this program cannot read it, for example after a downgrade.
fn change(key: &Key, holding: &Holding) -> Option<Change> {
    match decode(type_url(key.kind), &key.name, &holding.value) {
        Ok(resource) => Some(Change::Set(holding.version.clone(), resource)),
        Err(error) => {
            tracing::warn!(%key, %error, "a stored resource is not used");
            None
        }
    }
}

/// What others refer to comes first, what is gone last.
fn rank(change: &Change) -> (bool, usize, Key) {
    let key = change.key();
    let kind = Kind::ALL.iter().position(|kind| *kind == key.kind).unwrap_or(Kind::ALL.len());
    (matches!(change, Change::Remove(_)), kind, key)
}

fn names(
    subscribe: impl IntoIterator<Item = Want>,
    unsubscribe: impl IntoIterator<Item = Want>,
) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: type_url(Kind::Workload).to_owned(),
        resource_names_subscribe: subscribe.into_iter().map(|want| want.to_string()).collect(),
        resource_names_unsubscribe: unsubscribe.into_iter().map(|want| want.to_string()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn acknowledge(taken: Taken) -> DeltaDiscoveryRequest {
    let error_detail = (!taken.refused.is_empty())
        .then(|| Status { code: INVALID_ARGUMENT, message: refusals(&taken.refused) });
    DeltaDiscoveryRequest {
        type_url: taken.url,
        response_nonce: taken.nonce,
        error_detail,
        ..DeltaDiscoveryRequest::default()
    }
}

/// `name: reason; name: reason`, bounded.
fn refusals(refused: &[(String, String)]) -> String {
    let mut message = String::new();
    for (name, reason) in refused {
        // A semicolon parts the entries, so a reason has none.
        let reason: String = reason.replace("; ", ", ").chars().take(REASON_BYTES_MAX).collect();
        if message.len() + name.len() + reason.len() > MESSAGE_BYTES_MAX {
            break;
        }
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&format!("{name}: {reason}"));
    }
    message
}
