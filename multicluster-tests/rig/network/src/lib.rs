//! The rig's networks: namespaces, links, routes, firewalls, a WAN that can be worsened, and the CNI
//! plugin that attaches the rig's pods.
//!
//! `plan` says who is called what and lives where; it is pure. Everything else carries that out, always
//! inside namespaces whose names begin with `rig-<id>-`. The machine's own network is never touched.

pub mod plan;

pub use plan::{Plan, Reach};
