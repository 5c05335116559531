//! The OCI bundle of a container: what runc reads. Pure, but for the files of [`network`].

pub mod capabilities;
pub mod network;
pub mod spec;
pub mod user;

pub use spec::{BundleError, Mount, PidNamespace, Request, spec};
