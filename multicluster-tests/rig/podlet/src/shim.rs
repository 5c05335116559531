//! `podlet shim`: the small process that stands between a container and everybody else.
//!
//! It starts one container with runc, keeps its pipes (or its terminal), writes its log, lets
//! others attach, waits for its end and writes that down. So a podlet may be replaced while its
//! containers run.

mod attach;
pub mod console;
pub mod frame;
pub mod run;

/// Name of the shim's socket in the container's folder.
pub const ATTACH_SOCKET: &str = "attach.sock";
