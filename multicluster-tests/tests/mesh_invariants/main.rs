//! What always holds (DESIGN 2), and for each of it tests that try to break it, over whole meshes in one process.
#![allow(clippy::unwrap_used)]

mod across;
mod bypass;
mod closing;
mod identities;
mod last_good;
mod listed;
mod open;
mod order;
mod pair;
mod plaintext;
mod refusals;
mod revocation;
mod rotating;
mod shop;
mod unknown;
mod vouching;
