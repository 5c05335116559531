//! Where exchanges and relays are told of: spans and bytes from their opening on, at the end access log and metrics;
//! and refusals.

mod agents;
mod asked;
mod carrier;
mod decisions;
mod ended;
mod metrics;
mod refusals;
mod told;

use std::{sync::Arc, time::SystemTime};

use runtime::{AccessLog, Spans, metrics::Meters};

pub use agents::Agents;
pub use carrier::{Carried, Carrier};
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
    /// Metrics of agents.
    pub agents: Agents,
    /// Spans.
    pub spans: Spans,
    /// Bytes of what goes on.
    pub meters: Meters,
    /// Decisions, and connections that never came to one.
    pub decisions: Decisions,
    /// What we know of those who are named.
    pub worlds: Arc<Worlds>,
    /// The time.
    pub now: fn() -> SystemTime,
}
