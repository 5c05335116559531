//! One subscriber: what it has, what it must get, and what it said. No I/O: messages in, messages out.
//!
//! What must be sent is a set of keys; what is sent for a key is decided when the push is made. So a subscriber that
//! is slow gets the latest, once, however much happened meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh::{
    names::Version,
    resource::{Key, Kind},
};
use proto::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    strait::v1::Checkpoint,
};
use tonic::Status;

use super::{
    changed::Changed,
    closure::Scope,
    feedback::Feedback,
    node::{Announcement, SubscriberInfo},
    response::{Response, end, what_is},
    scopes::Scopes,
    standing::{Refused, SubscriberState},
    table::{Effect, Table},
};
use crate::{
    Caller, Want,
    encode::{CHECKPOINT_TYPE, key_of, type_url, type_urls},
};

/// Most names that one subscriber may ask for at a time.
pub const WANTS_MAX: usize = 4096;
/// Most resources that a subscriber may say it holds.
const HELD_MAX: usize = 1 << 20;
/// Longest reason of a refusal that is kept, in bytes.
const REASON_BYTES_MAX: usize = 1024;
/// The name under which everything in scope is subscribed.
pub(crate) const EVERYTHING: &str = "*";

#[derive(Debug)]
pub(super) struct Subscription {
    info: SubscriberInfo,
    seen_as_of: Option<u64>,
    /// Types that were asked for.
    types: BTreeSet<&'static str>,
    /// The checkpoint was asked for: all types were named, pushes may begin.
    begun: bool,
    scope: Scope,
    /// What it holds, or was sent.
    sent: HashMap<Key, Version>,
    dirty: BTreeSet<Key>,
    /// Wants that the next checkpoint settles.
    answers: BTreeSet<Want>,
    in_flight: Option<InFlight>,
    pushes: u64,
    /// The first push goes out also when it is empty: it says that all is known.
    greeted: bool,
    applied: Option<u64>,
    refused: BTreeMap<Key, Refused>,
}

/// A push that is not acknowledged in full.
#[derive(Debug)]
struct InFlight {
    generation: u64,
    /// Responses that are not answered, by nonce.
    open: BTreeMap<String, &'static str>,
    /// What was sent.
    keys: BTreeSet<Key>,
}

impl Subscription {
    pub(super) fn new(stream: u64, caller: Caller, never: &'static [Kind]) -> Self {
        Self {
            info: SubscriberInfo {
                stream,
                caller,
                node_id: String::new(),
                version: String::new(),
                capabilities: BTreeSet::new(),
            },
            seen_as_of: None,
            types: BTreeSet::new(),
            begun: false,
            scope: Scope::without(never),
            sent: HashMap::new(),
            dirty: BTreeSet::new(),
            answers: BTreeSet::new(),
            in_flight: None,
            pushes: 0,
            greeted: false,
            applied: None,
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.info.caller
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn in_scope(&self, key: &Key) -> bool {
        self.scope.contains(key)
    }

    pub(super) fn refused(&self, key: &Key) -> Option<&Refused> {
        self.refused.get(key)
    }

    /// The version that it said it applied, or presented.
    pub(super) fn applied_version(&self, key: &Key) -> Option<&Version> {
        let open = self.in_flight.as_ref().is_some_and(|flight| flight.keys.contains(key));
        self.sent.get(key).filter(|_| !open && !self.refused.contains_key(key))
    }

    pub(super) fn state(&self) -> SubscriberState {
        SubscriberState {
            info: self.info.clone(),
            applied: self.applied,
            held: self.sent.len(),
            pending: self.dirty.len(),
            in_flight: self.in_flight.is_some(),
            refused: self.refused.values().cloned().collect(),
        }
    }

    /// True if there is something to push and nothing in flight.
    pub(super) fn is_due(&self) -> bool {
        let something = !self.greeted || !self.dirty.is_empty() || !self.answers.is_empty();
        self.begun && self.in_flight.is_none() && something
    }

    /// Follows one edit, which has just been made.
    pub(super) fn edited(&mut self, table: &Table, effect: &Effect) {
        self.scope.follow(table, &effect.edges, &mut self.dirty);
        for key in effect.sets.iter().chain([&effect.changed.key]) {
            if self.scope.contains(key) || self.sent.contains_key(key) {
                self.dirty.insert(key.clone());
            }
        }
    }

    /// After all edits of one update: roots and wants, where the changes can alter them.
    pub(super) fn settle(&mut self, table: &Table, scopes: &dyn Scopes, changes: &[Changed]) {
        // Names may have been asked for before the beginning; roots are asked for at it.
        if self.begun && changes.iter().any(|change| scopes.affected(change, &self.info.caller)) {
            self.scope.set_roots(table, scopes.roots(table, &self.info.caller), &mut self.dirty);
        }
        let touched = |want: &&Want| changes.iter().any(|change| change.touches(want));
        let wants: Vec<Want> = self.scope.wants().keys().filter(touched).cloned().collect();
        for want in wants {
            self.resolve(table, scopes, want);
        }
        self.scope.settle(table, &mut self.dirty);
    }

    fn resolve(&mut self, table: &Table, scopes: &dyn Scopes, want: Want) {
        let mut keys = scopes.resolve(table, &self.info.caller, &want);
        if keys.is_empty() {
            keys.insert(want.absence_key());
        }
        self.scope.set_want(table, want, Some(keys), &mut self.dirty);
    }

    /// Takes a request: a subscription, an acknowledgement, or both.
    pub(super) fn take(
        &mut self,
        table: &Table,
        scopes: &dyn Scopes,
        feedback: &dyn Feedback,
        request: DeltaDiscoveryRequest,
    ) -> Result<(), Status> {
        if let Some(node) = &request.node {
            let told = Announcement::read(node);
            self.seen_as_of = told.seen_as_of;
            self.info.node_id = told.node_id;
            self.info.version = told.version;
            self.info.capabilities = told.capabilities;
        }
        if !request.response_nonce.is_empty() {
            self.acknowledged(feedback, &request);
        }
        if request.type_url == CHECKPOINT_TYPE {
            if !self.begun {
                self.begin(table, scopes);
                feedback.connected(&self.info);
            }
            return Ok(());
        }
        // A type that is not known here has no resources here; it is not an error to ask for it.
        let Some(known) = type_urls().find(|url| *url == request.type_url) else { return Ok(()) };
        if !self.begun {
            self.present(known, request.initial_resource_versions)?;
        }
        self.want(table, scopes, known, &request.resource_names_subscribe)?;
        self.unwant(table, known, &request.resource_names_unsubscribe);
        Ok(())
    }

    /// What it holds already.
    fn present(&mut self, known: &'static str, held: BTreeMap<String, String>) -> Result<(), Status> {
        if self.sent.len() + held.len() > HELD_MAX {
            return Err(Status::resource_exhausted(format!("more than {HELD_MAX} resources are held")));
        }
        let keyed = |(name, version): (String, String)| Some((key_of(known, &name)?, Version::from(version)));
        self.sent.extend(held.into_iter().filter_map(keyed));
        Ok(())
    }

    fn want(
        &mut self,
        table: &Table,
        scopes: &dyn Scopes,
        known: &'static str,
        names: &[String],
    ) -> Result<(), Status> {
        // Asking for a type asks for everything of it that is in scope; names are asked for as addresses.
        self.types.insert(known);
        if known != type_url(Kind::Workload) {
            return Ok(());
        }
        for name in names.iter().filter(|name| *name != EVERYTHING) {
            let want: Want = name.parse().map_err(|error| Status::invalid_argument(format!("{error}")))?;
            if self.scope.wants().len() >= WANTS_MAX && !self.scope.wants().contains_key(&want) {
                return Err(Status::resource_exhausted(format!(
                    "more than {WANTS_MAX} names were asked for"
                )));
            }
            self.resolve(table, scopes, want.clone());
            self.answers.insert(want);
        }
        Ok(())
    }

    fn unwant(&mut self, table: &Table, known: &'static str, names: &[String]) {
        if known != type_url(Kind::Workload) {
            return;
        }
        for want in names.iter().filter_map(|name| name.parse::<Want>().ok()) {
            self.answers.remove(&want);
            self.scope.set_want(table, want, None, &mut self.dirty);
        }
        self.scope.settle(table, &mut self.dirty);
    }

    fn begin(&mut self, table: &Table, scopes: &dyn Scopes) {
        self.begun = true;
        self.scope.set_roots(table, scopes.roots(table, &self.info.caller), &mut self.dirty);
        self.dirty.extend(self.sent.keys().cloned());
        self.dirty.extend(self.scope.keys().cloned());
    }

    fn acknowledged(&mut self, feedback: &dyn Feedback, request: &DeltaDiscoveryRequest) {
        let Some(flight) = &mut self.in_flight else { return };
        let Some(url) = flight.open.remove(&request.response_nonce) else { return };
        if let Some(status) = &request.error_detail {
            for (name, reason) in refusals(&status.message) {
                let Some(key) = key_of(url, name).filter(|key| flight.keys.contains(key)) else { continue };
                let Some(version) = self.sent.get(&key).cloned() else { continue };
                feedback.refused(&self.info.caller, &key, &version, &reason);
                self.refused.insert(key.clone(), Refused { key, version, reason });
            }
        }
        if flight.open.is_empty() {
            self.applied = Some(flight.generation);
            feedback.applied(&self.info.caller, flight.generation);
            self.in_flight = None;
        }
    }

    /// The next push, empty if none is due.
    pub(super) fn push(
        &mut self,
        table: &Table,
        epoch: &str,
        generation: u64,
        as_of: Option<u64>,
    ) -> Vec<DeltaDiscoveryResponse> {
        let behind = self.seen_as_of.is_some_and(|seen| as_of.is_some_and(|now| now < seen));
        if !self.is_due() || behind {
            return Vec::new();
        }
        let dirty = std::mem::take(&mut self.dirty);
        let mut keys = BTreeSet::new();
        let mut responses = Vec::new();
        for url in type_urls().filter(|url| self.types.contains(url)) {
            let mut response = Response::new(url);
            for key in dirty.iter().filter(|key| type_url(key.kind) == url) {
                let now = if self.scope.contains(key) { what_is(table, key) } else { None };
                if self.sent.get(key) == now.as_ref().map(|it| &it.version) {
                    continue;
                }
                self.refused.remove(key);
                keys.insert(key.clone());
                match now {
                    Some(encoded) => {
                        self.sent.insert(key.clone(), encoded.version.clone());
                        response.set(&encoded);
                    }
                    None => {
                        self.sent.remove(key);
                        response.remove(key);
                    }
                }
                if response.is_full() {
                    responses.push(std::mem::replace(&mut response, Response::new(url)).message);
                }
            }
            if !response.is_empty() {
                responses.push(response.message);
            }
        }
        if keys.is_empty() && self.greeted && self.answers.is_empty() {
            // Everything came back to what is held.
            return Vec::new();
        }
        let answers = std::mem::take(&mut self.answers).iter().map(ToString::to_string).collect();
        let checkpoint = Checkpoint { epoch: epoch.to_owned(), generation, as_of, answers };
        responses.push(end(&checkpoint));
        self.greeted = true;
        self.pushes += 1;
        let mut open = BTreeMap::new();
        for (at, response) in responses.iter_mut().enumerate() {
            response.nonce = format!("{}-{at}", self.pushes);
            response.system_version_info = format!("{epoch}/{generation}");
            let url = type_urls().find(|url| *url == response.type_url).unwrap_or(CHECKPOINT_TYPE);
            open.insert(response.nonce.clone(), url);
        }
        self.in_flight = Some(InFlight { generation, open, keys });
        responses
    }
}

/// Names and reasons out of `name: reason; name: reason`, as [`crate::subscribe`] writes them.
fn refusals(message: &str) -> impl Iterator<Item = (&str, String)> {
    message.split("; ").filter_map(|part| {
        let (name, reason) = part.split_once(": ")?;
        let kept: String = reason.chars().take(REASON_BYTES_MAX).collect();
        Some((name, kept))
    })
}
