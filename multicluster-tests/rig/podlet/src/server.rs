//! The kubelet's API: logs, exec, attach, port-forward, health and pods, over TLS with certificates
//! of clients.
//!
//! Only the API server may call it. What its requests ask for is read in `route`; each kind is
//! answered by a room of its own. A request that streams is upgraded to SPDY/3.1; the API server
//! turns WebSocket clients into that before they come here, because the node does not declare that
//! it can do it itself.

mod answer;
mod attach;
mod channels;
mod exec;
mod forward;
mod listen;
mod logs;
mod route;
mod status;
mod tls;
mod upgrade;

use std::sync::Arc;

pub use listen::{CONNECTIONS_MAX, serve};
pub use tls::{API_SERVER, TlsError, config as tls_config};

use crate::{registry::Pods, runc::Runc};

/// What the API speaks of.
#[derive(Debug, Clone)]
pub struct Node {
    /// The node's pods.
    pub pods: Arc<Pods>,
    /// For what is run in their containers.
    pub runc: Runc,
}
