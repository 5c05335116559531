//! How far resources and subscribers came, as it is told.

use mesh::{names::Version, resource::Key};

use super::node::SubscriberInfo;
use crate::Caller;

/// How far the current version of a resource came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The version, if the resource is there.
    pub version: Option<Version>,
    /// Connected proxies that have it in scope.
    pub wanted: usize,
    /// Those of them that applied this version.
    pub applied: usize,
    /// Those of them that refused this version, and why.
    pub refused: Vec<(Caller, String)>,
}

/// What one subscriber is doing.
#[derive(Debug, Clone)]
pub struct SubscriberState {
    /// Who it is, and what it says of itself.
    pub info: SubscriberInfo,
    /// The generation that it applied last.
    pub applied: Option<u64>,
    /// Resources that it holds or was sent.
    pub held: usize,
    /// Resources that wait until it acknowledges the last push.
    pub pending: usize,
    /// True while a push is not acknowledged.
    pub in_flight: bool,
    /// What it refused, and holds in an older form or not at all.
    pub refused: Vec<Refused>,
}

/// A version that a subscriber refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which resource.
    pub key: Key,
    /// Which version of it.
    pub version: Version,
    /// Why.
    pub reason: String,
}
