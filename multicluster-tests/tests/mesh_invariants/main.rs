//! What always holds (DESIGN 2), and for each of it tests that try to break it, over whole meshes in one process.
#![allow(clippy::unwrap_used)]

mod plaintext;
mod shop;
