//! The kinds that users write: ours, and those of Kubernetes and Gateway API that we read.
//!
//! Types alone, no client. Every one is parsed strictly: a field that is not known is an error, at every
//! depth, so that a typo is found and never ignored. Lists and texts carry their limits in their types.

// The derive of kube writes a copy of each struct into a function, where `pub` reaches nobody, and its
// printer columns are alike on purpose.
#![allow(unreachable_pub, clippy::duplicated_attributes)]

pub mod access;
pub mod admitted;
pub mod backend;
pub mod bounded;
pub mod catalog;
pub mod core;
pub mod crds;
pub mod gateway;
pub mod guard;
pub mod http_route;
pub mod issuer;
pub mod link;
pub mod mcs;
pub mod metadata;
pub mod object;
pub mod period;
pub mod quota;
pub mod refs;
pub mod revocation;
pub mod status;
pub mod traffic;
pub mod workload;

pub use admitted::{Admitted, Input, Place, Reason, Rejection, Targets};
pub use metadata::{Metadata, Optional, Resource};
pub use object::{Kind, Name, Object, Scope};
