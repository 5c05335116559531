//! What subscribers made of what was sent, for statuses.

use mesh::{names::Version, resource::Key};

use super::node::SubscriberInfo;
use crate::Caller;

/// Is told what subscribers answer. Called while the publisher is locked: it must be quick, and not call back.
pub trait Feedback: Send + Sync + 'static {
    /// A proxy subscribed.
    fn connected(&self, subscriber: &SubscriberInfo);

    /// A proxy's stream ended.
    fn disconnected(&self, subscriber: &SubscriberInfo);

    /// A proxy applied everything up to this generation, but for what it refused.
    fn applied(&self, caller: &Caller, generation: u64);

    /// A proxy refused this version of a resource, and goes on with the one that it had.
    fn refused(&self, caller: &Caller, key: &Key, version: &Version, reason: &str);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Feedback for Silent {
    fn connected(&self, _: &SubscriberInfo) {}
    fn disconnected(&self, _: &SubscriberInfo) {}
    fn applied(&self, _: &Caller, _: u64) {}
    fn refused(&self, _: &Caller, _: &Key, _: &Version, _: &str) {}
}
