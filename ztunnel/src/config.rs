//! Everything that a node proxy is told when it starts, as plain values. Flags and environment are the command's.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use mesh::names::{ClusterName, NodeName};
use runtime::{access_log::Destination, otlp};

use crate::{control::ControlPlane, explicit, inbound, outbound};

/// What a node proxy is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its node.
    pub node: NodeName,
    /// Its cluster.
    pub cluster: ClusterName,
    /// Who tells it what there is, and signs.
    pub control_plane: ControlPlane,
    /// The file of the token with which it proves itself; read anew for each call.
    pub token_file: PathBuf,
    /// Where its last good state is kept (0700); none: nowhere.
    pub state_directory: Option<PathBuf>,
    /// The port at which tunnels are accepted, if it is another than the one that others dial.
    pub hbone_bind_port: Option<u16>,
    /// Where the admin pages are served; loopback only.
    pub admin: Option<SocketAddr>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Where readiness is served.
    pub ready: Option<SocketAddr>,
    /// Where the access log goes.
    pub access_log: Destination,
    /// Where sampled spans are exported to; none: nowhere.
    pub otlp: Option<otlp::Config>,
    /// For how long certificates are asked for.
    pub certificate_lifetime: Duration,
    /// How long a connection waits for the first certificate of its workload.
    pub certificate_timeout: Duration,
    /// Connections open at once.
    pub connections_max: usize,
    /// Refusals that are kept to be explained.
    pub refusals_max: usize,
    /// How long what runs may go on when the program ends.
    pub drain_grace: Duration,
    /// How long it has to close after that.
    pub drain_closing: Duration,
    /// Connections of workloads.
    pub outbound: outbound::Config,
    /// Connections to workloads.
    pub inbound: inbound::Config,
    /// Explicit proxies.
    pub explicit: explicit::Config,
    /// Tunnels that are opened.
    pub pool: transport::pool::Config,
}

impl Config {
    /// The usual values.
    pub fn new(
        node: NodeName,
        cluster: ClusterName,
        control_plane: ControlPlane,
        token_file: PathBuf,
    ) -> Self {
        Self {
            node,
            cluster,
            control_plane,
            token_file,
            state_directory: None,
            hbone_bind_port: None,
            admin: None,
            metrics: None,
            ready: None,
            access_log: Destination::Stderr,
            otlp: None,
            certificate_lifetime: Duration::from_secs(24 * 3600),
            certificate_timeout: Duration::from_secs(5),
            connections_max: 32 * 1024,
            refusals_max: 4096,
            drain_grace: Duration::from_secs(30),
            drain_closing: Duration::from_secs(5),
            outbound: outbound::Config::default(),
            inbound: inbound::Config::default(),
            explicit: explicit::Config::default(),
            pool: transport::pool::Config::default(),
        }
    }

    /// Its name in refusals and reports.
    pub(crate) fn proxy(&self) -> String {
        format!("node/{}", self.node)
    }
}
