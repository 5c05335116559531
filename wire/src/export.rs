//! What control planes tell each other: exported services and revocations, nothing else.
//!
//! A small delta of names and versions, per trust domain that reads it. Who the reader is, the program knows from the
//! TLS connection and says in [`Peer`]; whom it may read as, [`Links`] answers.

mod exports;
mod imports;

use std::{collections::BTreeMap, sync::Arc};

use mesh::{
    Identity,
    resource::{GatewayAddress, Locality, Protocol, Revocation},
};
use serde::{Deserialize, Serialize};

pub use exports::{Exports, Links, Peer};
pub use imports::{ImportReceiver, Imports, ImportsConfig};

/// Most exports of one link.
pub const EXPORTS_MAX: usize = 65_536;
/// Most bytes of one export.
pub const EXPORT_BYTES_MAX: usize = 64 << 10;
/// Longest name of an export, in bytes.
const EXPORT_NAME_BYTES_MAX: usize = 2560;

/// One thing that is exported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exported {
    /// A service.
    Service(ExportedService),
    /// A revocation.
    Revocation(Revocation),
}

impl Exported {
    /// Its name on the stream: `service/<namespace>/<name>` or `revocation/<identity>`.
    pub fn name(&self) -> String {
        match self {
            Self::Service(it) => format!("service/{}/{}", it.namespace, it.name),
            Self::Revocation(it) => format!("revocation/{}", it.identity),
        }
    }
}

/// A service as another cluster needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedService {
    /// Its namespace, as the exporting cluster names it.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its ports.
    pub ports: BTreeMap<u16, ExportedPort>,
    /// The sum of the weights of its endpoints.
    pub capacity: u32,
    /// False: nobody serves it now.
    pub healthy: bool,
    /// Where it is.
    pub locality: Locality,
    /// The gateways through which it is reached; none: those of the link.
    pub gateways: Vec<GatewayAddress>,
    /// Who serves it.
    pub served_by: ServedBy,
    /// The reader's waypoints that say for whom they speak there, and must (`x-strait-origin`); none: each speaks for
    /// itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vouchers: Vec<Identity>,
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

/// Who is at the end of the second tunnel: never both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ServedBy {
    /// The waypoint to which it is bound, with its identities.
    Waypoint(Vec<Identity>),
    /// Its workloads, with their identities.
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
