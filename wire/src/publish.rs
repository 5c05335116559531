//! Tells every proxy what it must know, and only what changed.
//!
//! *Flow*: the control plane hands edits to [`Publisher::update`]; each resource is encoded once; whoever has it in
//! scope gets a push, which ends with a checkpoint and is followed by the next only when it was acknowledged.
//! *Guarantees*: at a checkpoint everything that a resource in scope refers to is in scope; nothing is sent that is
//! already held; a slow subscriber costs a set of keys, not a queue.
//! *Caveats*: the first update must be whole, since what it lacks is taken from proxies that hold it.

mod changed;
mod closure;
mod edit;
mod feedback;
mod node;
mod references;
mod response;
mod scopes;
mod serve;
mod standing;
mod subscription;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use mesh::resource::Key;
use parking_lot::Mutex;
use proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use tokio::sync::Notify;
use tonic::Status;

pub use changed::Changed;
pub use edit::Edit;
pub use feedback::{Feedback, Silent};
pub use node::{Announcement, SubscriberInfo};
pub use scopes::Scopes;
pub use serve::{DiscoveryServer, REQUEST_BYTES_MAX};
pub use standing::{Refused, Standing, SubscriberState};
pub use subscription::WANTS_MAX;
pub use table::Table;

use crate::{Caller, Rejected};
use subscription::Subscription;

/// Publishes resources. Clones share it.
#[derive(Clone)]
pub struct Publisher {
    inner: Arc<Inner>,
}

struct Inner {
    /// Names this run of this replica.
    epoch: String,
    scopes: Arc<dyn Scopes>,
    feedback: Arc<dyn Feedback>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    table: Table,
    generation: u64,
    as_of: Option<u64>,
    subscriptions: BTreeMap<u64, Subscriber>,
    next_id: u64,
}

struct Subscriber {
    subscription: Subscription,
    wake: Arc<Notify>,
    closed: bool,
}

impl Publisher {
    /// A publisher of nothing; `epoch` must be new for every run, for example random.
    /// Subscribers wait until the first update.
    pub fn new(epoch: impl Into<String>, scopes: Arc<dyn Scopes>, feedback: Arc<dyn Feedback>) -> Self {
        let inner = Inner { epoch: epoch.into(), scopes, feedback, state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Makes edits visible, all at once, as of a position of their source. What cannot be encoded is named;
    /// its last form stays, and the other edits stand.
    pub fn update(&self, edits: Vec<Edit>, as_of: Option<u64>) -> Vec<Rejected> {
        let state = &mut *self.inner.state.lock();
        let mut changes = Vec::new();
        let mut rejected = Vec::new();
        for edit in edits {
            let key = edit.key();
            match state.table.edit(edit) {
                Ok(None) => {}
                Ok(Some(effect)) => {
                    for subscriber in state.subscriptions.values_mut() {
                        subscriber.subscription.edited(&state.table, &effect);
                    }
                    changes.push(effect.changed);
                }
                Err(error) => rejected.push(Rejected { key, reason: error.to_string() }),
            }
        }
        let first = state.generation == 0;
        state.as_of = as_of.or(state.as_of);
        if first || !changes.is_empty() {
            state.generation += 1;
        }
        for subscriber in state.subscriptions.values_mut() {
            subscriber.subscription.settle(&state.table, &*self.inner.scopes, &changes);
            if first || subscriber.subscription.is_due() {
                subscriber.wake.notify_one();
            }
        }
        rejected
    }

    /// How far the current version of a resource came.
    pub fn standing(&self, key: &Key) -> Standing {
        let state = self.inner.state.lock();
        let version = state.table.version(key);
        let mut standing = Standing { version: version.cloned(), ..Standing::default() };
        for subscription in state.subscriptions.values().map(|it| &it.subscription) {
            if subscription.in_scope(key) {
                standing.wanted += 1;
                standing.applied +=
                    usize::from(version.is_some() && subscription.applied_version(key) == version);
                let refused = subscription.refused(key).filter(|it| Some(&it.version) == version);
                let told = |it: &Refused| (subscription.caller().clone(), it.reason.clone());
                standing.refused.extend(refused.map(told));
            }
        }
        standing
    }

    /// Every subscriber now.
    pub fn subscribers(&self) -> Vec<SubscriberState> {
        self.inner.state.lock().subscriptions.values().map(|it| it.subscription.state()).collect()
    }

    /// Reads the table, for example to answer `strait get`.
    pub fn read<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(&self.inner.state.lock().table)
    }

    /// The generation that is published; 0 before the first update.
    pub fn generation(&self) -> u64 {
        self.inner.state.lock().generation
    }

    /// Ends the streams of a caller, for example because its token was withdrawn.
    pub fn disconnect(&self, caller: &Caller) {
        for subscriber in self.inner.state.lock().subscriptions.values_mut() {
            if subscriber.subscription.caller() == caller {
                subscriber.closed = true;
                subscriber.wake.notify_one();
            }
        }
    }

    /// Begins a subscription. Its messages go through [`Link::take`] and [`Link::push`]; dropping the link ends it.
    ///
    /// This is the protocol without a transport; [`Publisher::service`] is the same over gRPC.
    pub fn subscribe(&self, caller: Caller) -> Link {
        let wake = Arc::new(Notify::new());
        let never = self.inner.scopes.never(&caller);
        let mut state = self.inner.state.lock();
        let id = state.next_id;
        state.next_id += 1;
        let subscription = Subscription::new(id, caller, never);
        state.subscriptions.insert(id, Subscriber { subscription, wake: Arc::clone(&wake), closed: false });
        Link { publisher: self.clone(), id, wake }
    }
}

/// One subscriber's hold on the publisher.
pub struct Link {
    publisher: Publisher,
    id: u64,
    wake: Arc<Notify>,
}

impl Link {
    /// Takes a request.
    ///
    /// # Errors
    /// When the stream must end.
    pub fn take(&self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        let inner = &self.publisher.inner;
        let state = &mut *inner.state.lock();
        let Some(subscriber) = state.subscriptions.get_mut(&self.id) else {
            return Err(Status::internal("the subscription is gone"));
        };
        subscriber.subscription.take(&state.table, &*inner.scopes, &*inner.feedback, request)
    }

    /// The next push, if one is due and none is in flight.
    ///
    /// # Errors
    /// When the stream must end.
    pub fn push(&self) -> Result<Vec<DeltaDiscoveryResponse>, Status> {
        let inner = &self.publisher.inner;
        let state = &mut *inner.state.lock();
        let Some(subscriber) = state.subscriptions.get_mut(&self.id).filter(|it| !it.closed) else {
            return Err(Status::unauthenticated("the subscription was ended"));
        };
        if state.generation == 0 {
            return Ok(Vec::new());
        }
        Ok(subscriber.subscription.push(&state.table, &inner.epoch, state.generation, state.as_of))
    }

    /// Waits until a push may be due.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let inner = &self.publisher.inner;
        let gone = inner.state.lock().subscriptions.remove(&self.id);
        if let Some(Subscriber { subscription, .. }) = gone
            && subscription.has_begun()
        {
            inner.feedback.disconnected(&subscription.state().info);
        }
    }
}
