//! Which gateways have a proxy that holds everything: what the publisher is told back, and statuses need.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesh::{Identity, names::Version, resource::Key};
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::{
    Caller,
    publish::{Feedback, SubscriberInfo},
};

/// Who serves now. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serving {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    gateways: Mutex<Gateways>,
    changed: Notify,
    refused: Notify,
}

#[derive(Debug, Default)]
struct Gateways {
    /// Streams of each gateway's proxies.
    streams: BTreeMap<Identity, BTreeSet<u64>>,
    /// Those that acknowledged a whole push.
    complete: BTreeSet<Identity>,
}

impl Serving {
    /// Waits until something changed.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Waits until a proxy refused something.
    pub(crate) async fn refusals(&self) {
        self.shared.refused.notified().await;
    }

    /// The gateways that serve now.
    pub(crate) fn now(&self) -> BTreeSet<Identity> {
        self.shared.gateways.lock().complete.clone()
    }
}

impl Feedback for Serving {
    fn connected(&self, subscriber: &SubscriberInfo) {
        if let Caller::Gateway { identity } = &subscriber.caller {
            let mut gateways = self.shared.gateways.lock();
            gateways.streams.entry(identity.clone()).or_default().insert(subscriber.stream);
        }
    }

    fn disconnected(&self, subscriber: &SubscriberInfo) {
        let Caller::Gateway { identity } = &subscriber.caller else { return };
        let mut gateways = self.shared.gateways.lock();
        let Some(streams) = gateways.streams.get_mut(identity) else { return };
        streams.remove(&subscriber.stream);
        if streams.is_empty() {
            gateways.streams.remove(identity);
            if gateways.complete.remove(identity) {
                self.shared.changed.notify_one();
            }
        }
    }

    fn applied(&self, caller: &Caller, _: u64) {
        let Caller::Gateway { identity } = caller else { return };
        let mut gateways = self.shared.gateways.lock();
        if gateways.streams.contains_key(identity) && gateways.complete.insert(identity.clone()) {
            self.shared.changed.notify_one();
        }
    }

    fn refused(&self, caller: &Caller, key: &Key, version: &Version, reason: &str) {
        tracing::warn!(%caller, %key, %version, reason, "a proxy refused a resource and goes on with the one before");
        self.shared.refused.notify_one();
    }
}
