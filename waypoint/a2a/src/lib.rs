//! The Agent2Agent protocol in a waypoint: what its messages ask, whose tasks they are, and cards that lead through
//! the mesh.
//!
//! Versions 1.0 and 0.3, by JSON-RPC and by HTTP+JSON, with server-sent events. The program calls [`read`] for the
//! facts of a request whose backend speaks A2A, asks [`A2a::begun_at`] where a conversation lives, and lets [`A2a`]
//! answer.
//!
//! *Whose it is*: every task id, and every context id that the agent made, is shown to the caller as a sealed token
//! ([`seal`]) that is good for this caller, route and backend only; what a caller chose itself is bound to the caller
//! before the agent sees it. No replica needs another's memory for that.
//!
//! *Limits.* Ids inside free-form data (`metadata`, parts of messages) are not looked for. What an agent posts to a
//! webhook carries the agent's own ids. A public name of a webhook is not resolved here. gRPC is not served.

pub mod card;
pub mod method;
pub mod path;
pub mod push;
pub mod seal;

mod contexts;
mod fault;
mod fields;
mod ids;
mod message;
mod onward;
mod opening;
mod refusal;
mod respond;
mod scope;
mod stream;
mod walk;

pub use opening::{facts, read};
pub use respond::{A2a, Config};
pub use seal::Sealer;
