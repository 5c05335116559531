//! Keeps tunnels and opens streams in them.
//!
//! *Flow*: a stream is opened in the tunnel of its key that has room; when none has, one new tunnel is opened, for
//! which everybody who waits for it waits together. *Guarantees*: a stream is carried only by a tunnel whose peer
//! was verified as one of those expected, under a certificate of ours and of theirs that have not ended, against
//! the roots that we believe now. *Caveats*: tunnels live on the runtime that opened them.

use std::{net::SocketAddr, num::NonZeroU16, num::NonZeroUsize, sync::Arc, time::Duration, time::SystemTime};

use mesh::names::WorkloadUid;

use crate::{
    credential::{Credential, Expected},
    dial::DialError,
    hbone::{Authority, ConnectRequest, Limits},
    stream::Stream,
};

/// Bounds of a pool.
#[derive(Debug, Clone)]
pub struct Config {
    /// Streams in one tunnel; the next one opens another tunnel.
    pub streams_per_tunnel: NonZeroU16,
    /// Tunnels with one key.
    pub tunnels_per_key: NonZeroUsize,
    /// Tunnels in all.
    pub tunnels: NonZeroUsize,
    /// How long a tunnel without streams is kept.
    pub idle_timeout: Duration,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Bounds of each tunnel.
    pub limits: Limits,
    /// What time it is.
    pub now: fn() -> SystemTime,
}

/// Where a tunnel leads, and for whom: equal ones share tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The workload that we carry for. Its tunnels are never shared with another's.
    pub source: WorkloadUid,
    /// Where the tunnel is accepted.
    pub address: SocketAddr,
    /// Who must be there.
    pub peers: Expected,
}

/// Where an inner tunnel leads, through a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inner {
    /// The exported service, by name.
    pub service: Authority,
    /// Who may serve it.
    pub peers: Expected,
    /// How much the other cluster says it can take: so many inner tunnels are spread over its endpoints.
    pub capacity: u32,
}

/// Keeps tunnels. A clone is the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    config: Arc<Config>,
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tunnels, inner ones included.
    pub tunnels: usize,
    /// Streams in them.
    pub streams: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            streams_per_tunnel: NonZeroU16::new(100).expect("100 is not zero"),
            tunnels_per_key: NonZeroUsize::new(64).expect("64 is not zero"),
            tunnels: NonZeroUsize::new(4096).expect("4096 is not zero"),
            idle_timeout: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            now: SystemTime::now,
        }
    }
}

impl Pool {
    /// An empty pool.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config) }
    }

    /// Opens a stream in a tunnel to the destination, which is opened first if there is none with room.
    ///
    /// # Errors
    /// When the tunnel cannot be built, its peer is not one of those expected, or the stream is refused.
    pub async fn connect(
        &self,
        to: &Destination,
        credential: &Arc<Credential>,
        request: ConnectRequest,
    ) -> Result<Stream, DialError> {
        let _ = (to, credential, request, &self.config);
        todo!()
    }

    /// Opens a stream in a tunnel that is itself carried by a stream of a tunnel to a gateway. `outer` is what the
    /// gateway is asked for, `request` what the final peer is.
    ///
    /// # Errors
    /// As [`Pool::connect`], for either tunnel.
    pub async fn connect_nested(
        &self,
        gateway: &Destination,
        inner: &Inner,
        credential: &Arc<Credential>,
        outer: ConnectRequest,
        request: ConnectRequest,
    ) -> Result<Stream, DialError> {
        let _ = (gateway, inner, credential, outer, request);
        todo!()
    }

    /// Takes no new streams into any tunnel that is open now; each ends with its last stream.
    pub fn retire_all(&self) {
        todo!()
    }

    /// Retires the tunnels of a workload that has gone.
    pub fn retire_source(&self, source: &WorkloadUid) {
        let _ = source;
        todo!()
    }

    /// Retires the tunnels whose path the predicate names, e.g. of a revoked peer. Streams in them go on: whoever
    /// holds one and must end it, resets it.
    pub fn retire_where(&self, mut concerned: impl FnMut(&Destination, &crate::VerifiedPeer) -> bool) {
        let _ = &mut concerned;
        todo!()
    }

    /// How full it is.
    pub fn usage(&self) -> Usage {
        todo!()
    }
}
