//! What there is and what may be: vocabulary and every decision on it, without I/O.
//!
//! No async, no clock, no randomness (both are arguments), no Kubernetes, no protobuf.

pub mod denial;
pub mod facts;
pub mod identity;
pub mod names;
pub mod resource;

pub use denial::{Denial, Reason};
pub use facts::{Caller, Facts, Peer};
pub use identity::{Identity, IdentityPattern, TrustDomain};
