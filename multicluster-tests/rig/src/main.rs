//! `rig`: brings Kubernetes clusters up on this machine, in network namespaces, and takes them down.

use std::process::ExitCode;

fn main() -> ExitCode {
    rig::cli::main()
}
