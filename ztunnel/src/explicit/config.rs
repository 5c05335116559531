//! Bounds of explicit proxies.

use std::time::Duration;

/// How explicit proxies are served.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a client has to say what it wants.
    pub head_timeout: Duration,
    /// Connections at once, over all workloads of the node.
    pub connections_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { head_timeout: Duration::from_secs(10), connections_max: 16 * 1024 }
    }
}
