//! Calls of models in a waypoint: the protocols of providers over one neutral form, failover, and counted tokens.
//!
//! Callers speak OpenAI's chat completions, responses and embeddings or Anthropic's messages; providers speak OpenAI's
//! or Anthropic's. Where both speak the same, requests and answers pass with few edits; else they are translated by
//! way of the [`neutral`] form, and what has no form on the other side is refused by name.
//!
//! The program calls [`read`] for the facts of a request whose backend speaks this, and lets [`Llm`] answer it.

// Failures to call are cold, and carry what decided by value.
#![allow(clippy::result_large_err)]

pub mod candidates;
pub mod chat;
pub mod error;
pub mod estimate;
pub mod json;
pub mod listing;
pub mod messages;
pub mod neutral;
pub mod opening;
pub mod operation;
pub mod respond;
pub mod responses;
pub mod same;
pub mod turn;

mod account;
mod attempt;
mod config;
mod quota;
mod stream;
mod upstream;
mod watch;

pub use config::{Config, Sources};
pub use opening::read;
pub use respond::Llm;
