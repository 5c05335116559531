//! Links, addresses, routes and neighbours, asked of the kernel over rtnetlink.
//!
//! A small part of the protocol, by hand: a rig of ten namespaces is a hundred changes, and each pod a dozen.
//! As starts of `ip` they would be most of the time that either takes. `change` says what is wanted and how
//! a person would say it, `message` lays out bytes, `socket` asks and reads the answer.

mod change;
mod message;
mod socket;

pub(crate) use change::{Change, Mac, Route, Way};
pub use socket::NetlinkError;
pub(crate) use socket::Socket;
