//! Gateway API matching and precedence; pure.
//!
//! A [`Table`] is compiled from the routes attached to one place, a service port or a listener. What a rule leads to
//! is the program's: the table carries it and does not look inside.

mod condition;
pub mod host;
pub mod query;
pub mod table;

pub use host::Hosts;
pub use mesh::balance::pick;
pub use table::{Attached, Head, Matched, Table};
