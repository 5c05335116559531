//! Listeners of gateways and waypoints.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::HostPattern;
use crate::names::{ObjectName, SetName};

/// One listener of a Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl Listener {
    /// Its resource name, `<gateway object>/<listener>`.
    pub fn key_name(&self) -> String {
        format!("{}/{}", self.gateway, self.name)
    }
}

/// What a listener does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListenerRole {
    /// A waypoint: accepts HBONE, serves what is addressed in the CONNECT.
    Waypoint,
    /// An east-west gateway: accepts HBONE, forwards by exported name, never opens the inner tunnel.
    EastWest,
    /// Plain HTTP from anyone who can connect.
    Http,
}
