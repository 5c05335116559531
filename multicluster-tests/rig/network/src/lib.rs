//! The rig's networks: namespaces, links, routes, firewalls, a WAN that can be worsened, and the CNI
//! plugin that attaches the rig's pods.
//!
//! `plan` says who is called what and lives where; it is pure. Everything else carries that out, always
//! inside namespaces whose names begin with `rig-<id>-`. The machine's own network is never touched.

pub mod cni;
mod fabric;
mod firewall;
pub mod forward;
mod layout;
mod namespace;
mod netlink;
pub mod plan;
pub mod process;
mod running;
mod sweep;
pub mod wan;

pub use fabric::{Fabric, FabricError};
pub use firewall::FirewallError;
pub use layout::{UPLINK, WAN_LINK};
pub use namespace::{LinkState, NAMED, Namespace};
pub use netlink::NetlinkError;
pub use plan::{Plan, Reach};
pub use sweep::{SweepError, leftovers, mounts, sweep};
