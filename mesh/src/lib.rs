//! What there is and what may be: vocabulary and every decision on it, without I/O.
//!
//! No async, no clock, no randomness (both are arguments), no Kubernetes, no protobuf.

pub mod access;
pub mod admission;
pub mod balance;
pub mod denial;
pub mod facts;
#[cfg(test)]
mod fixtures;
pub mod hop;
pub mod identity;
pub mod matching;
pub mod names;
pub mod outside;
pub mod resource;
pub mod snapshot;

pub use denial::{Denial, Reason};
pub use facts::{Caller, Facts, Peer};
pub use identity::{Identity, IdentityPattern, TrustDomain};
