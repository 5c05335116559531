//! The rig's CNI plugin as a program: one call, one answer.

use std::io::Read;
use std::process::ExitCode;

use rig_network::cni::{Call, answer};

/// A configuration with all that runtimes add is a few kilobytes.
const CONFIGURATION_LEN_MAX: u64 = 4 << 20;

fn main() -> ExitCode {
    let mut configuration = Vec::new();
    if let Err(error) = std::io::stdin().take(CONFIGURATION_LEN_MAX).read_to_end(&mut configuration) {
        eprintln!("cannot read the configuration from standard input: {error}");
        return ExitCode::FAILURE;
    }
    match answer(&Call::from_env(), &configuration) {
        Ok(Some(words)) => println!("{words}"),
        Ok(None) => {}
        Err(error) => {
            println!("{}", error.json());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
