//! The built `strait` program, run as a user would.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;

/// The built program: `STRAIT_BIN`, which `cargo xtask test` sets to the release build.
///
/// # Panics
/// When it is not built: a test of the program cannot pass without it.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("STRAIT_BIN").map(PathBuf::from);
    match path.filter(|path| path.is_file()) {
        Some(path) => path,
        None => panic!("STRAIT_BIN names no program: run `cargo xtask test --tier process`, which builds it"),
    }
}

/// A command of the built program.
pub fn strait(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A child that is killed when the test ends, whichever way it does.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        Ok(Self(command.spawn().with_context(|| format!("cannot start {command:?}"))?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
