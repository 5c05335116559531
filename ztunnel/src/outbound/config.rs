//! Bounds of outbound connections.

use std::time::Duration;

/// How outbound connections are made.
#[derive(Debug, Clone)]
pub struct Config {
    /// Endpoints that are tried for one connection.
    pub attempts_max: u8,
    /// How long the control plane has to say what a name or address is.
    pub ask_timeout: Duration,
    /// How long a resolver has for a name outside the mesh.
    pub resolve_timeout: Duration,
    /// How long a destination outside the mesh has to accept.
    pub connect_timeout: Duration,
    /// Ends a connection on which nothing moves for so long.
    pub idle_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            ask_timeout: Duration::from_secs(5),
            resolve_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: None,
        }
    }
}
