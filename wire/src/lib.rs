//! What our programs tell each other: delta publish and subscribe, checkpoints, stores, reports, exports.
//!
//! `mesh` says what the things mean; here they become bytes and come back. It knows neither sockets nor
//! Kubernetes: channels and incoming streams are given by the programs.

pub mod caller;
pub mod encode;
pub mod export;
pub mod publish;
pub mod report;
pub mod store;
pub mod subscribe;
pub mod want;

pub use caller::{Authenticate, Bearer, Caller, Unauthenticated};
pub use mesh::snapshot::{Change, Rejected};
pub use want::Want;
