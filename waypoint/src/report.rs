//! The one door out of an exchange or relay: access log, metrics, refusals.

mod decisions;
mod ended;
mod metrics;
mod refusals;

use std::{sync::Arc, time::SystemTime};

use runtime::AccessLog;

pub use decisions::Decisions;
pub use ended::Ended;
pub use metrics::Requests;
pub use refusals::Records;

use crate::world::Worlds;

/// Where ends are reported. Clones are the same.
#[derive(Debug, Clone)]
pub struct Report {
    /// The access log, if one is kept.
    pub log: Option<AccessLog>,
    /// Request metrics.
    pub requests: Requests,
    /// Decisions, and connections that never came to one.
    pub decisions: Decisions,
    /// What we know of those who are named.
    pub worlds: Arc<Worlds>,
    /// The time.
    pub now: fn() -> SystemTime,
}
