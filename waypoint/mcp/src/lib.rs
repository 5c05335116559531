//! The Model Context Protocol in a waypoint: reads messages, filters lists, answers exchanges.
//!
//! Streamable HTTP in every revision: 2026-07-28 (stateless), and those with sessions. Several servers of one backend
//! are one (`federation`). It knows exchanges and the mesh's vocabulary, and nothing of routes, transports or other
//! protocols.
//!
//! The program calls [`read`] for the facts of a request whose backend speaks MCP, and lets [`Mcp`] answer it.

pub mod definition;
pub mod head;
pub mod listing;
pub mod message;
pub mod object;
pub mod rejection;
pub mod revision;
pub mod seal;
pub mod session;

mod batch;
mod courier;
mod federation;
mod gate;
mod header;
mod id;
mod learn;
mod names;
mod onward;
mod opening;
mod post;
mod raw;
mod refusal;
mod repeats;
mod respond;
mod scope;
mod shelf;
mod stream;

pub use gate::Counts;
pub use opening::{Opened, described, read};
pub use respond::{Config, Mcp, Tools};
pub use seal::Sealer;
pub use shelf::{Held, ToolRow};
