//! One file for each HTTP filter, and the order in which a request meets them.
//!
//! Filters know nothing of routing, transport or each other. What a route says of them is compiled once into a
//! [`Plan`]; [`Plan::chain`] makes the filters of one exchange.

pub mod authorize;
pub mod broken;
pub mod cors;
pub mod headers;
pub mod mirror;
pub mod plan;
pub mod quota;
pub mod redirect;
pub mod refused;
pub mod rewrite;

pub use broken::BrokenFilter;
pub use mirror::Mirrors;
pub use plan::{Guests, Plan, Surroundings};
pub use refused::Refused;
