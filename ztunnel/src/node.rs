//! What every connection of a node needs, in one value.

use std::{sync::Arc, time::SystemTime};

use runtime::DrainWatch;
use transport::{Credentials, Pool, drain::Tunnels};
use wire::subscribe::OnDemand;

use crate::{connections::Connections, explicit, inbound, outbound, report::Report, world::World};

/// One node proxy, while it serves.
pub(crate) struct Node {
    pub(crate) outbound: outbound::Config,
    pub(crate) inbound: inbound::Config,
    pub(crate) explicit: explicit::Config,
    pub(crate) world: World,
    pub(crate) connections: Connections,
    pub(crate) credentials: Arc<dyn Credentials>,
    pub(crate) pool: Pool,
    pub(crate) tunnels: Tunnels,
    pub(crate) on_demand: OnDemand,
    pub(crate) report: Report,
    pub(crate) drain: DrainWatch,
    pub(crate) chance: fn() -> u64,
    pub(crate) now: fn() -> SystemTime,
}
