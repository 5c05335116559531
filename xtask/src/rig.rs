//! `cargo xtask rig`: builds the rig's own programs, and becomes `rig`.

use std::{os::unix::process::CommandExt, path::PathBuf, process::Command};

use anyhow::Context;

use crate::{
    command::{cargo, root, step},
    test::on_path,
};

/// What the rig asks of the machine: a tool, and the package of Debian that brings it.
const TOOLS: [(&str, &str); 6] = [
    ("runc", "runc"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("curl", "curl"),
    ("go", "golang-go"),
];

/// What `rig` is told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The arguments of `rig`; `--help` after them says which there are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the rig and becomes it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    step("build the rig", &mut build())?;
    let error = Command::new(program()).args(&options.arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program().display()))
}

/// Builds the programs of the rig that are written here.
pub(crate) fn build() -> Command {
    cargo(&["build", "-q", "-p", "rig", "-p", "rig-network", "-p", "podlet", "--locked"])
}

/// Where they are then.
pub(crate) fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("debug")
}

/// The rig itself.
pub(crate) fn program() -> PathBuf {
    folder().join("rig")
}

/// Whether this machine can run it.
pub(crate) fn prepared() -> Result<(), String> {
    let root = std::process::Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n");
    if !root {
        return Err("network namespaces need root".to_owned());
    }
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(tool, _)| !on_path(tool)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{0} missing; on Debian: apt-get install {0} (Go may be newer than Debian's: see go.dev/dl)",
        missing.join(" ")
    ))
}
