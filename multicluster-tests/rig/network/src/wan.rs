//! The WAN between clusters: every packet from one cluster to another passes through here, and may be held
//! back, lost, queued behind others or stopped, in each direction as it is told while it runs.
//!
//! The kernel routes the packets into a TUN device in the WAN's namespace, and takes them back from it.
//! `direction` decides about packets of one direction; it is pure, time and chance are given to it. `switch`
//! finds the direction. `engine` reads, waits and writes; `control` takes orders on a Unix socket.

mod control;
mod counts;
mod direction;
mod engine;
mod random;
mod shape;
mod switch;
pub(crate) mod tun;

pub use control::{Control, ControlError};
pub use counts::Counts;
pub use engine::{WanError, serve, serve_seeded};
pub use shape::{DELAY_MAX, Shape, ShapeError};
pub use switch::Way;
