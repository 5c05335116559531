//! Ground for scenarios over whole meshes: many programs in one process, and the built programs on loopback.
//!
//! `hbone` and `svid` are written from the descriptions of the wire, not from our own code, so that both ends of a
//! conversation are not judged by their own twin. `mesh` runs our programs as they are, and speaks to them as
//! applications and neighbours would.

pub mod hbone;
pub mod mesh;
pub mod strait;
pub mod svid;
pub mod up;
