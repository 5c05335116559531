//! What a podlet is told: one JSON file.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The port of the kubelet's API.
pub const KUBELET_PORT: u16 = 10250;

/// Everything a podlet needs to know of its node. Field names in the file are camelCase.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name of the Node object, also the node's host name.
    pub node_name: String,
    /// The node's InternalIP.
    pub node_address: IpAddr,
    /// Kubeconfig file for the API server, as user `system:node:<name>` or an administrator.
    pub kubeconfig: PathBuf,
    /// The folder that pods see as the node's `/`.
    pub node_root: PathBuf,
    /// The folder of image folders.
    pub images: PathBuf,
    /// A `tracing` filter.
    #[serde(default = "log_default")]
    pub log: String,
    /// Certificate chain of the kubelet's API, PEM.
    pub server_cert: PathBuf,
    /// Its key, PEM.
    pub server_key: PathBuf,
    /// Who may call the kubelet's API: the CA of its clients, PEM.
    pub client_ca: PathBuf,
    /// Port of the kubelet's API.
    #[serde(default = "port_default")]
    pub port: u16,
    /// Address of the cluster's DNS service.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    #[serde(default = "domain_default")]
    pub cluster_domain: String,
    /// How many pods this node takes.
    #[serde(default = "max_pods_default")]
    pub max_pods: u32,
    /// The runc program.
    #[serde(default = "runc_default")]
    pub runc: PathBuf,
    /// The control group, in every hierarchy, in which those of the containers are made. It stays when
    /// podlet ends: it belongs to whoever chose its name.
    #[serde(default = "cgroup_default")]
    pub cgroup: String,
    /// Cores the node claims to have, for the scheduler: nothing is held to them.
    #[serde(default = "cpus_default")]
    pub cpus: u32,
    /// GiB of memory the node claims to have, likewise.
    #[serde(default = "memory_default")]
    pub memory_gib: u32,
    /// Labels of the Node beside the usual ones.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// First pause before a container that fell is started again, in milliseconds; it doubles up to
    /// thirty times itself. Kubernetes has 10 s.
    #[serde(default = "backoff_default")]
    pub crash_backoff_ms: u64,
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not what is expected.
    #[error("the configuration {path} is not understood: {cause}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        cause: serde_json::Error,
    },
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read(path).map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })?;
        serde_json::from_slice(&text).map_err(|cause| ConfigError::Malformed { path: path.to_owned(), cause })
    }

    /// Where the kubelet's API listens: on every address of the node's namespace.
    pub fn listen(&self) -> SocketAddr {
        let any = match self.node_address {
            IpAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
            IpAddr::V6(_) => IpAddr::from([0u16; 8]),
        };
        SocketAddr::new(any, self.port)
    }
}

fn log_default() -> String {
    "info".to_owned()
}
fn port_default() -> u16 {
    KUBELET_PORT
}
fn domain_default() -> String {
    "cluster.local".to_owned()
}
fn max_pods_default() -> u32 {
    110
}
fn runc_default() -> PathBuf {
    PathBuf::from("/usr/sbin/runc")
}
fn cgroup_default() -> String {
    "podlet".to_owned()
}
fn cpus_default() -> u32 {
    32
}
fn memory_default() -> u32 {
    64
}
fn backoff_default() -> u64 {
    10_000
}
