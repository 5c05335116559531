//! What one cluster tells another of a service: what is needed to reach it, and nothing more.

use std::{collections::BTreeMap, sync::Arc};

use mesh::{identity::Identity, resource::Protocol};
use serde::{Deserialize, Serialize};

/// Most services that are read from one link.
pub const EXPORTS_MAX: usize = 10_000;
/// Most identities that serve one exported service; more are not told.
pub(crate) const SERVING_IDENTITIES_MAX: usize = 64;

/// A service in its own cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedName {
    /// The namespace there.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// One exported service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedService {
    /// What it is called there.
    pub name: ExportedName,
    /// Its ports.
    pub ports: BTreeMap<u16, ExportedPort>,
    /// The sum of the capacities of its endpoints.
    pub capacity: u32,
    /// Whether one of its endpoints is healthy.
    pub healthy: bool,
    /// Who ends the inner tunnel.
    pub served_by: ServedBy,
    /// The reader's waypoints whose word about callers is taken there; nobody else may give it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vouchers: Vec<Identity>,
}

/// Who ends the inner tunnel to an exported service: never both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ServedBy {
    /// The waypoint to which it is bound.
    Waypoint(Vec<Identity>),
    /// Its workloads.
    Workloads(Vec<Identity>),
}

impl ServedBy {
    /// The identities.
    pub fn identities(&self) -> &[Identity] {
        match self {
            Self::Waypoint(identities) | Self::Workloads(identities) => identities,
        }
    }
}

/// One port of an exported service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedPort {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// What it speaks.
    pub protocol: Protocol,
}

/// The name under which an exported service is dialled through a gateway.
pub fn clusterset_hostname(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc.clusterset.local")
}
