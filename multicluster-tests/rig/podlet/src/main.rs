//! `podlet --config FILE` runs a node; `podlet shim FOLDER` is called by it, once a container.

fn main() {}
