//! What content may pass: patterns, sizes, origins, and a guard that is asked.
//!
//! [`Rules`] are the guards of one exchange, compiled. [`screen()`] looks at a whole body, [`Watch`] at text that arrives
//! in pieces, [`Stream`] at the messages of an event stream, [`External`] asks a guard elsewhere; [`Guarding`] is the
//! filter that does all of it in one exchange. Everything fails closed: what cannot be read where something was to be
//! looked for is refused.
//!
//! A guard is a net, not a boundary. *Looked through*: every string, name of a member and number of JSON, decoded, also
//! JSON and base64 inside of strings (one level of base64, [`NESTED_MAX`] of JSON); forms, percent-decoded; all other
//! text that is UTF-8. *Not looked through*: content that is not text (only its size counts), what is encrypted,
//! compressed inside of a member, spelled with look-alike letters or in words, and the path and headers of a request.
//! Calls that stream both ways (gRPC) are refused where their requests would have to be read.

mod asked;
mod compile;
mod external;
mod filter;
mod find;
mod json;
mod look;
mod measured;
mod origin;
mod screen;
mod shadows;
mod stream;
mod watch;

pub use compile::{BYTES_MAX, Guards, Rules};
pub use external::External;
pub use filter::Guarding;
pub use json::NESTED_MAX;
pub use screen::{Screened, screen};
pub use stream::Stream;
pub use watch::{HELD_MAX, REACH, Watch};
