//! Bounds of a pool.

use std::{
    num::{NonZeroU16, NonZeroUsize},
    time::Duration,
};

use crate::hbone::Limits;

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
        }
    }
}
