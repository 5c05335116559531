//! Watches, admits, publishes, writes status, links clusters.

mod accepted;
pub mod admit;
pub mod watch;
