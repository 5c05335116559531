//! Listeners of gateways and waypoints.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{HostPattern, Traffic};
use crate::names::{ObjectName, SetName};

/// One listener of a Gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The Gateway.
    pub gateway: ObjectName,
    /// The listener's name in it.
    pub name: Arc<str>,
    /// The port.
    pub port: u16,
    /// What it does.
    pub role: ListenerRole,
    /// The hosts that it serves; none: all.
    pub hostname: Option<HostPattern>,
    /// The policies of the way in.
    pub set: SetName,
    /// What the Gateway and this listener say of every request that comes in here: what the route, its rule, and the
    /// service or backend say is more specific, field by field.
    pub traffic: Traffic,
}

impl Listener {
    /// Its resource name, `<gateway object>/<listener>`.
    pub fn key_name(&self) -> String {
        format!("{}/{}", self.gateway, self.name)
    }
}

/// What a listener does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ListenerRole {
    /// A waypoint: accepts HBONE, serves what is addressed in the CONNECT.
    Waypoint,
    /// An east-west gateway: accepts HBONE, forwards by exported name, never opens the inner tunnel.
    EastWest,
    /// Plain HTTP from anyone who can connect.
    Http,
    /// HTTP over TLS from anyone who can connect. Listeners of one port are told apart by server name.
    Https {
        /// Secrets of type `kubernetes.io/tls`; the first that has the name is served.
        certificates: Vec<ObjectName>,
    },
}
