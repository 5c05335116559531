//! Agent backends: things to talk to that are not Kubernetes Services.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BackendTarget, Traffic};
use crate::names::{Hostname, ObjectName, SetName};

/// One AgentBackend. A backend that cannot be realised has no servers and says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// The object.
    pub name: ObjectName,
    /// The names that workloads dial.
    pub hostnames: Vec<Hostname>,
    /// What it is.
    pub kind: BackendKind,
    /// The policies; where none speaks, nobody may.
    pub set: SetName,
    /// How it is delivered.
    pub traffic: Traffic,
    /// Set: it answers 503, for this reason.
    pub broken: Option<Arc<str>>,
}

/// What an agent backend is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum BackendKind {
    /// Servers of the Model Context Protocol.
    Mcp {
        /// The servers; one until federation.
        servers: Vec<McpServer>,
    },
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpServer {
    /// Its name, unique in the backend.
    pub name: Arc<str>,
    /// Where it is.
    pub target: BackendTarget,
    /// The path of its endpoint.
    pub path: Arc<str>,
}
