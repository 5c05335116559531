//! The Model Context Protocol in a waypoint: reads messages, filters lists, answers exchanges.
//!
//! Streamable HTTP in the revisions 2026-07-28 (stateless) and 2025-11-25 (sessions), and the messages of those
//! before. It knows exchanges and the mesh's vocabulary, and nothing of routes, transports or other protocols.
//!
//! The program calls [`read`] for the facts of a request whose backend speaks MCP, and lets [`Mcp`] answer it.

pub mod head;
pub mod json;
pub mod listing;
pub mod message;
pub mod object;
pub mod rejection;
pub mod revision;
pub mod session;

mod header;
mod id;
mod onward;
mod opening;
mod refusal;
mod repeats;
mod respond;
mod scope;
mod stream;

pub use opening::{Opened, read};
pub use respond::{Config, Mcp};
pub use session::Sealer;
