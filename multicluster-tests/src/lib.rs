//! Scenarios over whole meshes: many programs in one process, and the built programs on loopback.
