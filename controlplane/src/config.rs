//! What a control plane must be told, as plain values.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::Ipv4Net;
use mesh::TrustDomain;
use translate::{Access, Settings, Tunnels};

/// The port of configuration, certificates, reports and federation.
pub const PORT: u16 = 15012;
/// The port of the admin page.
pub const ADMIN_PORT: u16 = 15000;

/// The port of metrics alone.
pub const METRICS_PORT: u16 = 15020;
/// The port of readiness alone.
pub const READY_PORT: u16 = 15021;

/// How a control plane runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folders or files of YAML.
    pub files: Vec<PathBuf>,
    /// Where it keeps keys, tokens and what it must remember; only this user may read it.
    pub state: PathBuf,
    /// The cluster's name; also that of its network.
    pub cluster: String,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// The addresses of its mesh.
    pub ranges: Vec<Ipv4Net>,
    /// What holds for Services where no policy and no label speaks.
    pub default_access: Access,
    /// Where it listens for proxies and linked clusters.
    pub listen: SocketAddr,
    /// Where the admin page is.
    pub admin: SocketAddr,
    /// Where metrics are served by themselves.
    pub metrics: Option<SocketAddr>,
    /// Where readiness is served by itself.
    pub ready: Option<SocketAddr>,
    /// How long certificates live at most.
    pub leaf_lifetime: Duration,
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no range to take addresses from.
    #[error("a cluster needs at least one range of addresses, for example 10.20.0.0/16")]
    NoRange,
    /// A range is too small for a mesh.
    #[error("range {0} is too small: /24 is the least")]
    SmallRange(Ipv4Net),
}

impl Config {
    /// The usual values for one machine: it listens at the first loopback address of its ranges.
    ///
    /// # Errors
    /// When there is no usable range.
    pub fn on_one_machine(
        files: Vec<PathBuf>,
        state: PathBuf,
        cluster: String,
        trust_domain: TrustDomain,
        ranges: Vec<Ipv4Net>,
    ) -> Result<Self, ConfigError> {
        let first = ranges.first().ok_or(ConfigError::NoRange)?;
        if let Some(small) = ranges.iter().find(|range| range.prefix_len() > 24) {
            return Err(ConfigError::SmallRange(*small));
        }
        let [_, second, _, _] = first.network().octets();
        let own = IpAddr::V4(Ipv4Addr::new(127, second, 0, 1));
        Ok(Self {
            files,
            state,
            cluster,
            trust_domain,
            default_access: Access::Open,
            listen: SocketAddr::new(own, PORT),
            admin: SocketAddr::new(own, ADMIN_PORT),
            metrics: Some(SocketAddr::new(own, METRICS_PORT)),
            ready: Some(SocketAddr::new(own, READY_PORT)),
            leaf_lifetime: authority::sign::Config::default().lifetime_max,
            ranges,
        })
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            cluster: self.cluster.as_str().into(),
            network: self.cluster.as_str().into(),
            trust_domain: self.trust_domain.clone(),
            ranges: self.ranges.clone(),
            cluster_domain: "cluster.local".into(),
            suffixes: vec!["mesh".into()],
            default_access: self.default_access,
            tunnels: Tunnels::Loopback,
        }
    }
}
