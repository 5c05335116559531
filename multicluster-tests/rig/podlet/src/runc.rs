//! Calls of the runc program.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// The runc program and where it keeps its state.
#[derive(Debug, Clone)]
pub struct Runc {
    program: PathBuf,
    root: PathBuf,
}

impl Runc {
    /// `program` with its state under `root`.
    pub fn new(program: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), root: root.into() }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where it keeps its state.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `runc --root …`, for more arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.root);
        command
    }
}
