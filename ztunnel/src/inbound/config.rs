//! Bounds of inbound tunnels and streams.

use std::time::Duration;

use transport::hbone::Limits;

/// How tunnels and their streams are served.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bounds of each tunnel.
    pub limits: Limits,
    /// Tunnels at once, and connections that become some.
    pub tunnels_max: usize,
    /// How long the application has to accept.
    pub deliver_timeout: Duration,
    /// Ends a connection on which nothing moves for so long.
    pub idle_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            tunnels_max: 4096,
            deliver_timeout: Duration::from_secs(5),
            idle_timeout: None,
        }
    }
}
