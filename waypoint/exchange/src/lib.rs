//! A request and its response in flight: facts, held bodies, filters, messages, responders.
//!
//! It knows no transport, no wire and no expressions: whatever reaches out of an exchange is behind a trait of this
//! crate ([`Upstreams`], [`Judge`], [`Register`]) that the program implements, and whatever answers one is a
//! [`Responder`]. Protocol crates and filters stand on this crate and not on each other.

pub mod answer;
pub mod authorize;
pub mod body;
pub mod closing;
pub mod credential;
pub mod errand;
pub mod filter;
pub mod flight;
pub mod json;
pub mod judge;
pub mod known;
pub mod ledger;
pub mod messages;
pub mod respond;
pub mod sse;
pub mod trail;
pub mod upstream;
pub mod watch;

pub use answer::Convention;
pub use authorize::Changes;
pub use body::{Body, BodyError, HoldError};
pub use closing::Closing;
pub use errand::{Asking, ErrandError, Errands, Trailers};
pub use filter::{Chain, End, Filter, Step};
pub use flight::{Backend, Exchange, Request, Response};
pub use judge::{Judge, Place, Purpose, Register};
pub use known::Known;
pub use ledger::{Ask, Exceeded, Ledger, Reservation, Used};
pub use messages::{Framer, FramingError, Messages, Passage};
pub use respond::Responder;
pub use trail::{ModelUse, Trail, Upstream};
pub use upstream::{Call, CallError, Fault, Reply, Upstreams};
pub use watch::{TextWatch, Watches};

/// A future behind a pointer, for the traits that are used as objects.
pub type BoxFuture<'a, T> = futures_util::future::BoxFuture<'a, T>;
