//! Everything that serving needs, in one value.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use exchange::{Errands, Judge, Known, Ledger, Register, Upstreams};
use filters::Mirrors;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{connections::Connections, own::Own, report::Report, upstreams::dial::Dial, world::Worlds};

/// Bounds of what comes in.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for the head of an HTTP/1.1 request, and between two requests.
    pub head_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// HTTP/2 requests open at once in one stream.
    pub requests: u32,
    /// Bytes of a request's body that is held.
    pub held_bytes: usize,
    /// Bytes of all bodies that are held at once; more wait, and are refused when they have waited for too long.
    pub held_bytes_all: usize,
    /// Time in which a body that is held must arrive.
    pub held_timeout: Duration,
    /// Time in which nothing moves, after which an exchange or relay ends, where nothing is said.
    pub idle_timeout: Duration,
    /// Streams served at once; a further one is refused.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(60),
            head_bytes: 64 * 1024,
            requests: 128,
            held_bytes: 4 << 20,
            held_bytes_all: 512 << 20,
            held_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(3600),
            streams: 16 * 1024,
        }
    }
}

/// The room for bodies that are held, in KiB. Clones are the same.
#[derive(Debug, Clone)]
pub struct Room {
    room: Arc<Semaphore>,
    most: usize,
}

impl Room {
    /// Room as these bounds say.
    pub fn new(limits: &Limits) -> Self {
        Self { room: Arc::new(Semaphore::new(limits.held_bytes_all.div_ceil(1024))), most: limits.held_bytes }
    }

    /// Waits for room for a body of this length, or of the most if it does not say. The caller bounds the wait.
    pub async fn reserve(&self, length: Option<u64>) -> Option<OwnedSemaphorePermit> {
        let length =
            length.and_then(|length| usize::try_from(length).ok()).unwrap_or(self.most).min(self.most);
        let kibibytes = u32::try_from(length.div_ceil(1024).max(1)).ok()?;
        Arc::clone(&self.room).acquire_many_owned(kibibytes).await.ok()
    }

    /// Gives back what a body of this length does not need.
    pub fn shrunk(mut permit: OwnedSemaphorePermit, length: usize) -> OwnedSemaphorePermit {
        let surplus = permit.num_permits().saturating_sub(length.div_ceil(1024).max(1));
        drop(permit.split(surplus));
        permit
    }
}

/// A waypoint that serves.
pub struct Waypoint {
    /// Bounds.
    pub limits: Limits,
    /// Room for bodies that are held.
    pub room: Room,
    /// Who we are.
    pub own: Arc<Own>,
    /// What we know.
    pub worlds: Arc<Worlds>,
    /// What runs.
    pub connections: Connections,
    /// Who judges.
    pub judge: Arc<dyn Judge>,
    /// What the control plane told beside policies.
    pub known: Arc<dyn Known>,
    /// Who holds the allowances.
    pub ledger: Arc<dyn Ledger>,
    /// Who records refusals.
    pub register: Arc<dyn Register>,
    /// How backends are reached.
    pub upstreams: Arc<dyn Upstreams>,
    /// How streams are opened, for bytes that are only relayed.
    pub dial: Arc<dyn Dial>,
    /// Sends copies.
    pub mirrors: Mirrors,
    /// Answers for MCP.
    pub mcp: mcp::Mcp,
    /// Answers for A2A.
    pub a2a: a2a::A2a,
    /// Answers for models.
    pub llm: llm::Llm,
    /// Runs errands of our own.
    pub errands: Errands,
    /// Looks at content.
    pub guards: guards::Guards,
    /// Verifies users.
    pub users: users::Users,
    /// Where everything ends.
    pub report: Report,
    /// Random numbers.
    pub chance: fn() -> u64,
    /// The time.
    pub now: fn() -> SystemTime,
}

impl std::fmt::Debug for Waypoint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Waypoint").field("own", &self.own).finish_non_exhaustive()
    }
}
