//! The WAN between clusters.
pub(crate) mod tun;
