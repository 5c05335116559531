//! The rig's networks for real, in namespaces that each test makes and removes. Needs root.

mod cni;
mod fabric;
mod forward;
mod place;
mod sweep;
mod wan;
