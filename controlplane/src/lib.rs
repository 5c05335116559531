//! Watches, admits, translates, publishes; signs, links clusters, and tells how things stand.
//!
//! *Flow*: `watch` reads files and `admit` judges each object; `app` turns whatever happens into edits of
//! `translate`'s World and publishes what follows. `serve` is the one port for proxies and linked clusters.

mod accepted;
mod admin;
pub mod admit;
mod app;
mod commands;
mod config;
mod decisions;
mod explain;
mod links;
mod named;
mod past;
mod questions;
mod reports;
mod roll;
mod root;
mod scopes;
mod serve;
mod serving;
mod spans;
mod status;
pub mod tokens;
mod trust;
pub mod watch;

pub use app::{ControlPlane, Running, run};
pub use config::{ADMIN_PORT, Config, ConfigError, METRICS_PORT, PORT, READY_PORT};
pub use roll::Members;
