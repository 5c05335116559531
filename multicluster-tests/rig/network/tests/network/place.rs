//! A network that a test has for itself, and what tests ask of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rig_network::{Fabric, Namespace, Plan, Reach};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
/// Long enough that whatever may arrive has arrived, where nothing should.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A fabric that goes with its value.
pub(crate) struct Place {
    pub(crate) plan: Plan,
    pub(crate) fabric: Fabric,
}

impl Place {
    /// None, said aloud, where namespaces may not be made.
    pub(crate) fn build(clusters: u8, nodes: u8, reach: Reach) -> Option<Place> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let id = format!("t{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let plan = Plan::new(&id, clusters, nodes, reach).unwrap();
        let fabric = Fabric::build(&plan).unwrap_or_else(|error| panic!("{}", whole(&error)));
        Some(Place { plan, fabric })
    }

    pub(crate) fn node(&self, cluster: u8, node: u8) -> Namespace {
        let cluster = self.plan.cluster(cluster).unwrap();
        Namespace::named(&cluster.node(node).unwrap().namespace())
    }

    pub(crate) fn control_plane(&self, cluster: u8) -> Namespace {
        Namespace::named(&self.plan.cluster(cluster).unwrap().control_plane_namespace())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        rig_network::sweep(self.plan.id()).unwrap();
        assert_eq!(rig_network::leftovers(self.plan.id()), Vec::<String>::new());
        // Addresses and sockets are in the rig's folder, which is the test's to remove.
        let _ = std::fs::remove_dir_all(self.plan.folder());
    }
}

/// Whether a listener at `at` in one namespace is reached from another, and from which address.
pub(crate) fn reached(from: &Namespace, to: &Namespace, at: Ipv4Addr, timeout: Duration) -> Option<IpAddr> {
    let listener = to.tcp_listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let _connection = from.tcp_connect(SocketAddr::from((at, port)), timeout).ok()?;
    // The connection stands for the caller; its last packet is still on its way to the listener.
    Some(listener.accept().ok()?.1.ip())
}

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text += &format!(": {next}");
        cause = next.source();
    }
    text
}
