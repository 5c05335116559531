//! What proxies tell: every refusal with an id, decisions by the minute, spans, applied versions, plaintext seen.
//!
//! A refusal gets its id here and nowhere else, is kept in a bounded ring, and a copy of it goes up. Nothing here
//! holds a connection up: what finds no room is dropped and counted.

mod decisions;
mod id;
mod inbox;
mod record;
mod refusals;
mod upward;

pub use decisions::{Asked, DecisionKey, KEYS_MAX, OTHER, Verdict};
pub use id::{IdError, RefusalId};
pub use inbox::{Inbox, ReportsService};
pub use record::{DecisionCount, Plaintext, Record};
pub use refusals::{Refusal, Refusals, Subject};
pub use upward::{RECORDS_MAX, Reporter, SPANS_WAITING_MAX, Upward, UpwardConfig};
