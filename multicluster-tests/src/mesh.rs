//! Whole clusters in one process: the programs as they are, each on a thread of its own, on loopback.
//!
//! A test writes YAML, starts a [`Cluster`], lets [`server`]s listen where workloads are delivered, and speaks as a
//! [`Client`] of a workload. Programs can be killed and started again. Everything ends when its value is dropped.

mod certificate;
mod client;
mod cluster;
mod link;
pub mod mcp;
mod network;
mod pages;
mod program;
pub mod server;
mod wait;

pub use certificate::certificate;
pub use client::{Client, Denied, Opened};
pub use cluster::{Cluster, Plan};
pub use link::link;
pub use network::Number;
pub use program::Program;
pub use translate::Access;
pub use wait::{PATIENCE, until, until_some};
