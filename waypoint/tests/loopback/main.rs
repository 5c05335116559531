//! A waypoint on loopback between real tunnels: callers before it, nodes with applications behind it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod authorizing;
mod busy;
mod calling;
mod changing;
mod edge;
mod failing;
mod guarding;
mod hostile;
mod outside;
mod relaying;
mod routing;
mod support;
mod tracing;
mod web;
