//! What an installation says of itself: names, ranges, and where tunnels listen.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use ipnet::Ipv4Net;
use mesh::{
    identity::TrustDomain,
    names::{ClusterName, Network},
};

/// The HBONE port.
pub const TUNNEL_PORT: u16 = 15008;
/// The port of a workload's explicit proxy.
pub const PROXY_PORT: u16 = 15080;

/// What is no object and yet decides what proxies are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The cluster.
    pub cluster: ClusterName,
    /// The network of its addresses.
    pub network: Network,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Where addresses of workloads and services come from; all of it is inside the mesh.
    pub ranges: Vec<Ipv4Net>,
    /// The suffix of the cluster's own service names, usually `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// Further name suffixes that are inside the mesh.
    pub suffixes: Vec<Arc<str>>,
    /// What holds for Services where no policy and no label speaks.
    pub default_access: Access,
    /// How a mesh address becomes one that can be dialled.
    pub tunnels: Tunnels,
}

/// Who may where no Allow speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Anyone.
    Open,
    /// Any proven identity of our trust domain.
    Mesh,
    /// Nobody.
    None,
}

impl Access {
    /// Reads the label's value. An unknown one means nobody.
    pub fn of_label(text: &str) -> Self {
        match text {
            "open" => Self::Open,
            "mesh" => Self::Mesh,
            _ => Self::None,
        }
    }
}

/// How a mesh address becomes one that can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tunnels {
    /// One machine without network namespaces: `a.b.c.d` listens at `127.b.c.d`.
    Loopback,
    /// The address itself.
    Own,
}

impl Tunnels {
    /// Where the tunnel to a mesh address is dialled.
    pub fn address(self, mesh: Ipv4Addr) -> IpAddr {
        match self {
            Self::Own => mesh.into(),
            Self::Loopback => {
                let [_, b, c, d] = mesh.octets();
                Ipv4Addr::new(127, b, c, d).into()
            }
        }
    }

    /// The HBONE address of a mesh address.
    pub fn hbone(self, mesh: Ipv4Addr) -> SocketAddr {
        SocketAddr::new(self.address(mesh), TUNNEL_PORT)
    }

    /// The explicit proxy of a mesh address.
    pub fn proxy(self, mesh: Ipv4Addr) -> SocketAddr {
        SocketAddr::new(self.address(mesh), PROXY_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_one_machine_a_mesh_address_listens_on_loopback() {
        let address = Tunnels::Loopback.hbone(Ipv4Addr::new(10, 20, 3, 4));
        assert_eq!(address, "127.20.3.4:15008".parse().expect("an address"));
        let own = Tunnels::Loopback.hbone(Ipv4Addr::new(127, 20, 3, 4));
        assert_eq!(own, "127.20.3.4:15008".parse().expect("an address"));
    }

    #[test]
    fn an_unknown_default_is_nobody() {
        assert_eq!(Access::of_label("open"), Access::Open);
        assert_eq!(Access::of_label("mesh"), Access::Mesh);
        assert_eq!(Access::of_label("Open"), Access::None);
    }
}
