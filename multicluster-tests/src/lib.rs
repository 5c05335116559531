//! Ground for scenarios over whole meshes: many programs in one process, and the built programs on loopback.
//!
//! What stands here is written from the descriptions of the wire, not from our own code, so that both ends of a
//! conversation are not judged by their own twin.

pub mod hbone;
pub mod strait;
pub mod svid;
