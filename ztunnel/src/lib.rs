//! The node proxy: carries the connections of the workloads of one node, each under its workload's own identity.
//!
//! *Out*: `explicit` takes a connection of an application, `outbound` decides and dials. *In*: `inbound` terminates
//! tunnels, judges and delivers. `receive` swaps what is known, `stations` keeps the listeners, `connections` closes
//! what is no longer allowed, `report` is where everything ends. Only `app` knows all of them.

mod app;
mod config;
mod connections;
mod control;
mod explicit;
mod inbound;
mod node;
mod outbound;
mod pages;
mod peer;
mod receive;
mod report;
mod say;
mod stations;
mod world;

pub use app::{RunError, run};
pub use config::Config;
pub use control::ControlPlane;
pub use explicit::Config as ExplicitConfig;
pub use inbound::Config as InboundConfig;
pub use outbound::Config as OutboundConfig;
