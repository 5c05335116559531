//! `cargo xtask conformance`: the official suites, run by the rig.

use std::ffi::OsString;

use anyhow::Context;

use crate::command::cargo;

/// What to run; `gateway-api --help` tells the rest.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// The suite and its options, for the rig's own command line.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<OsString>,
}

/// Ends with the code of the rig: 0 when all passed, 1 for the suite's verdict, 2 for a fault of the rig.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut command =
        cargo(&["run", "--quiet", "--locked", "-p", "rig", "--bin", "rig", "--", "conformance"]);
    let status = command.args(&options.arguments).status().context("cannot start cargo")?;
    std::process::exit(status.code().unwrap_or(2));
}
