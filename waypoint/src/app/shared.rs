//! What the parts of a running waypoint share.

use std::sync::Arc;

use exchange::Judge;
use identity::{Anchors, Keeper};
use mesh::Identity;
use runtime::{AccessLog, Metrics, Readiness, Spans, metrics::Meters};
use transport::{Pool, drain::Tunnels};

use crate::{
    config::Config,
    connections::Connections,
    edge::{certificates::Certificates, keep::Standing},
    ledger::Allowances,
    report::{Agents, Records, Requests},
    world::Worlds,
};

/// What the parts of a running waypoint share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) identity: Identity,
    pub(super) worlds: Arc<Worlds>,
    pub(super) connections: Connections,
    pub(super) judge: Arc<dyn Judge>,
    pub(super) allowances: Allowances,
    pub(super) keeper: Keeper,
    /// Under which roots the control plane is believed.
    pub(super) anchors: Anchors,
    pub(super) pool: Pool,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
    pub(super) records: Records,
    pub(super) requests: Requests,
    pub(super) agents: Agents,
    pub(super) tools: mcp::Tools,
    pub(super) spans: Spans,
    pub(super) meters: Meters,
    pub(super) log: AccessLog,
    pub(super) tunnels: Tunnels,
    pub(super) certificates: Certificates,
    pub(super) standing: Standing,
}
