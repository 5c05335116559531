//! The node proxy.

pub mod explicit;
