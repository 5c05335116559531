//! The rig's networks for real, in namespaces that each test makes and removes. Needs root.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cni;
mod fabric;
mod forward;
mod place;
mod sweep;
mod wan;
