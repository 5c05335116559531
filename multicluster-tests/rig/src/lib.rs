//! Real Kubernetes clusters on one machine: API servers, nodes and pods in network namespaces, ready in seconds.
//!
//! [`Rig::up`] builds the network, starts the programs and waits until the clusters are ready; [`Cluster`] speaks
//! to one of them by kube-rs or kubectl; a rig bends its WAN and ends programs when told; [`Small`] is an API server
//! alone, on loopback. Nothing of Strait is linked here: the rig is the ground, not what stands on it.

mod balancer;
mod certs;
pub mod cli;
mod cluster;
pub mod conformance;
mod controlplane;
mod faults;
mod guard;
mod kubeconfig;
mod manifests;
mod node;
mod ports;
mod process;
mod programs;
mod progress;
mod rig;
mod shared;
mod small;
mod state;
mod sweep;
mod wait;

use ports::{free_port, free_ports};

pub use cluster::{Answer, Cluster, TestNamespace};
pub use process::{Launch, Process};
pub use programs::unavailable;
pub use progress::Progress;
pub use rig::{Lifetime, Options, Rig};
pub use rig_network::plan::Reach;
pub use shared::shared;
pub use small::Small;
pub use sweep::remains;
pub use wait::{until, until_some};
