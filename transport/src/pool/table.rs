//! Which tunnels there are, which one takes the next stream, and when one more is opened. Opens nothing itself.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use tokio::sync::watch;

use super::{config::Config, destination::Destination};
use crate::{
    credential::{Bundles, Credential, Expected},
    dial::DialError,
    hbone::{Authority, carrier::Slot, client::Tunnel},
    socket::Address,
};

/// What tunnels are kept by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Direct(Destination),
    Inner(Destination, Authority, Expected),
}

impl Key {
    pub(super) fn destination(&self) -> &Destination {
        match self {
            Self::Direct(to) | Self::Inner(to, ..) => to,
        }
    }

    /// Makes an error say where it happened.
    pub(super) fn blame(&self, error: impl FnOnce(Address) -> DialError) -> DialError {
        let error = error(Address::Tcp(self.destination().address));
        match self {
            Self::Direct(_) => error,
            Self::Inner(_, service, _) => {
                DialError::Behind { service: service.clone(), cause: Box::new(error) }
            }
        }
    }
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tunnels, inner ones included.
    pub tunnels: usize,
    /// Streams in them.
    pub streams: usize,
}

/// A place for one stream.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: u64,
    pub(super) tunnel: Arc<Tunnel>,
    pub(super) slot: Slot,
}

/// What to do now.
#[derive(Debug)]
pub(super) enum Now {
    Take(Place),
    Wait(watch::Receiver<Option<Result<(), DialError>>>),
    Full(usize),
}

/// What to do, and whether to open a tunnel as well.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) now: Now,
    pub(super) begin: Option<Begin>,
}

/// The duty to open one tunnel and to tell those who wait.
#[derive(Debug)]
pub(super) struct Begin(watch::Sender<Option<Result<(), DialError>>>);

impl Begin {
    pub(super) fn tell(self, outcome: Result<(), DialError>) {
        self.0.send_replace(Some(outcome));
    }
}

/// All tunnels that take new streams.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Key, Entry>,
    /// Tunnels in the table, and those being opened.
    tunnels: usize,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Entry {
    held: Vec<Held>,
    opening: Option<watch::Receiver<Option<Result<(), DialError>>>>,
}

#[derive(Debug)]
struct Held {
    id: u64,
    tunnel: Arc<Tunnel>,
    credential: Arc<Credential>,
    /// Streams that were ever opened in it.
    opened: u64,
}

impl Table {
    pub(super) fn choose(
        &mut self,
        key: &Key,
        credential: &Credential,
        config: &Config,
        spread: usize,
    ) -> Choice {
        let now = (config.limits.now)();
        let entry = self.entries.entry(key.clone()).or_default();
        let before = entry.held.len();
        entry.held.retain(|held| held.is_good(credential, now));
        self.tunnels -= before - entry.held.len();

        let per_tunnel = usize::from(config.streams_per_tunnel.get());
        let per_key = config.tunnels_per_key.get();
        // Among equally busy ones the one that was used least, so that streams one after another do not all go to
        // the same.
        let best =
            entry.held.iter_mut().filter(|held| held.has_room(per_tunnel)).min_by_key(|held| held.busy());
        let taken = best.map(Held::take);
        let opening = entry.opening.clone();
        // One more is opened when none has room, and while there are fewer than streams shall be spread over.
        let more = taken.is_none() || entry.held.len() < spread;
        let begin = (more && opening.is_none() && entry.held.len() < per_key)
            .then(|| self.begin(key, config))
            .flatten();
        let now = match (taken, opening, &begin) {
            (Some(place), _, _) => Now::Take(place),
            (None, Some(opening), _) => Now::Wait(opening),
            (None, None, Some(begin)) => Now::Wait(begin.0.subscribe()),
            (None, None, None) => Now::Full(per_key.min(config.tunnels.get())),
        };
        self.forget_if_empty(key);
        Choice { now, begin }
    }

    /// Takes a place for a tunnel that will be opened, if there is one or can be made.
    fn begin(&mut self, key: &Key, config: &Config) -> Option<Begin> {
        if self.tunnels >= config.tunnels.get() && !self.evict_idle(key) {
            return None;
        }
        let (tell, told) = watch::channel(None);
        self.entries.entry(key.clone()).or_default().opening = Some(told);
        self.tunnels += 1;
        Some(Begin(tell))
    }

    pub(super) fn opened(&mut self, key: &Key, tunnel: Tunnel, credential: Arc<Credential>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        entry.opening = None;
        // It was counted when it began.
        entry.held.push(Held { id, tunnel: Arc::new(tunnel), credential, opened: 0 });
        id
    }

    pub(super) fn failed(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.opening = None;
            self.tunnels -= 1;
        }
        self.forget_if_empty(key);
    }

    pub(super) fn remove(&mut self, key: &Key, id: u64) {
        self.retire_in(key, |held| held.id == id);
    }

    /// Removes a tunnel that has no stream and opened none since it had opened so many; else says how many it opened.
    pub(super) fn remove_idle(&mut self, key: &Key, id: u64, opened_before: Option<u64>) -> Option<u64> {
        let held = self.entries.get(key)?.held.iter().find(|held| held.id == id)?;
        if held.tunnel.load().streams() > 0 {
            return None;
        }
        let opened = held.opened;
        if opened_before == Some(opened) {
            self.remove(key, id);
        }
        Some(opened)
    }

    pub(super) fn retire(&mut self, mut concerned: impl FnMut(&Key, &Tunnel) -> bool) {
        let keys: Vec<Key> = self.entries.keys().cloned().collect();
        for key in keys {
            self.retire_in(&key, |held| concerned(&key, &held.tunnel));
        }
    }

    fn retire_in(&mut self, key: &Key, mut concerned: impl FnMut(&Held) -> bool) {
        if let Some(entry) = self.entries.get_mut(key) {
            let before = entry.held.len();
            entry.held.retain(|held| !concerned(held));
            self.tunnels -= before - entry.held.len();
        }
        self.forget_if_empty(key);
    }

    /// Makes room for a tunnel by ending one of another key that carries nothing.
    fn evict_idle(&mut self, but: &Key) -> bool {
        let idle = self.entries.iter().filter(|(key, _)| *key != but).find_map(|(key, entry)| {
            let held = entry.held.iter().find(|held| held.tunnel.load().streams() == 0)?;
            Some((key.clone(), held.id))
        });
        match idle {
            Some((key, id)) => {
                self.remove(&key, id);
                true
            }
            None => false,
        }
    }

    fn forget_if_empty(&mut self, key: &Key) {
        if self.entries.get(key).is_some_and(|entry| entry.held.is_empty() && entry.opening.is_none()) {
            self.entries.remove(key);
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let held = || self.entries.values().flat_map(|entry| &entry.held);
        Usage { tunnels: held().count(), streams: held().map(|held| held.tunnel.load().streams()).sum() }
    }
}

impl Held {
    /// Whether it may take new streams, as things stand now.
    fn is_good(&self, credential: &Credential, now: SystemTime) -> bool {
        let mut domains = self.tunnel.path().iter().map(|peer| peer.identity.trust_domain());
        now < self.tunnel.ends()
            && self.credential.identity() == credential.identity()
            && domains.all(|domain| still_believed(self.credential.bundles(), credential.bundles(), domain))
    }

    fn has_room(&self, per_tunnel: usize) -> bool {
        self.tunnel.load().streams() < per_tunnel.min(self.tunnel.streams_max())
    }

    fn busy(&self) -> (usize, u64) {
        (self.tunnel.load().streams(), self.opened)
    }

    fn take(&mut self) -> Place {
        self.opened += 1;
        Place { id: self.id, tunnel: self.tunnel.clone(), slot: self.tunnel.load().enter() }
    }
}

/// A peer that was proven by the roots of then is proven by those of now if none of them was taken away.
fn still_believed(then: &Arc<Bundles>, now: &Arc<Bundles>, domain: &mesh::TrustDomain) -> bool {
    if Arc::ptr_eq(then, now) {
        return true;
    }
    match (then.get(domain), now.get(domain)) {
        (Some(then), Some(now)) => then.iter().all(|root| now.contains(root)),
        _ => false,
    }
}
