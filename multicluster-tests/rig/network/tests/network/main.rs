//! The rig's networks for real, in namespaces that each test makes and removes. Needs root.

mod cni;
mod fabric;
mod place;
