//! cargo xtask: check, test, crds.

fn main() {}
