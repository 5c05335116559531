//! The strait command: demo, up, check, link, get, explain, and every program in one binary.

fn main() {}
