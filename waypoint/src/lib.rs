//! The L7 proxy: waypoint and east-west gateway, as a library.
//!
//! `listen` accepts tunnels and leads each stream to `service` (HTTP: route, facts, filters, responder, report) or to
//! `relay` (bytes). `upstreams` reaches endpoints, `judge` answers who may do what, `connections` holds all that runs
//! and is judged again after each swap of the `world`.

// Failures to call are cold, and carry what decided by value.
#![allow(clippy::result_large_err)]

pub mod app;
pub mod authorizers;
mod causes;
pub mod config;
pub mod connections;
pub mod edge;
pub mod entrance;
pub mod facts;
pub mod http;
pub mod judge;
pub mod known;
pub mod ledger;
pub mod listen;
pub mod own;
pub mod relay;
pub mod report;
pub mod responders;
pub mod service;
pub mod upstreams;
pub mod waypoint;
pub mod world;

pub use app::{RunError, run};
pub use config::Config;
pub use own::Own;
pub use waypoint::Waypoint;
