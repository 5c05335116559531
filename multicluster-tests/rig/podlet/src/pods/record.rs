//! What is written down of a container that runs, so that the next podlet finds it.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};
use tokio::process::Child;

use crate::{
    containers::{ContainerId, Running},
    paths::Paths,
    pidfd,
    shim::run::{EXIT, Exit, write_atomic},
};

/// Name of the record in the container's folder.
const FILE: &str = "container.json";
/// The code of a container whose end nobody saw.
const LOST_CODE: i32 = 137;

/// One life of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The uid of its pod.
    pub(super) pod: String,
    /// The container's name in the pod.
    pub(super) container: String,
    /// Its name for runc.
    pub(super) id: ContainerId,
    /// Its first process.
    pub(super) pid: i32,
    /// Its log.
    pub(super) log: std::path::PathBuf,
    /// Which life it is, from 0.
    pub(super) attempt: u32,
    /// Whether it has a terminal.
    pub(super) tty: bool,
    /// Whether somebody may write to it.
    pub(super) stdin: bool,
    /// Since when it runs.
    pub(super) since: jiff::Timestamp,
    /// The process of its shim, and when that began in the kernel's count.
    pub(super) shim: (i32, u64),
}

impl Record {
    /// Writes it down.
    pub(super) fn write(&self, paths: &Paths) -> io::Result<()> {
        write_atomic(&paths.container(&self.id).join(FILE), &serde_json::to_vec(self)?)
    }

    /// What is written in a container's folder, if it is understood.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
    }

    /// The container, as those see it who talk to it.
    pub(super) fn running(&self, paths: &Paths) -> Running {
        Running {
            id: self.id.clone(),
            pid: self.pid,
            folder: paths.container(&self.id),
            log: self.log.clone(),
            attempt: self.attempt,
            tty: self.tty,
            stdin: self.stdin,
        }
    }
}

/// The shim of a container, whose end comes after the container's.
pub(super) enum Shim {
    /// Started by this podlet.
    Child(Child),
    /// Started by a former one: its process, and when that began.
    Found(i32, u64),
}

impl Shim {
    /// Waits for the end of the container, whose folder this is. Without a word of the shim the
    /// container counts as killed.
    pub(super) async fn ended(self, folder: &Path) -> Exit {
        let waited = match self {
            Self::Child(mut child) => child.wait().await.map(|_| ()),
            Self::Found(pid, began) => pidfd::ended_of(pid, began).await,
        };
        if let Err(error) = waited {
            tracing::warn!(folder = %folder.display(), %error, "a shim cannot be waited for; its container counts as lost");
        }
        let text = std::fs::read(folder.join(EXIT)).unwrap_or_default();
        let lost = || Exit { code: LOST_CODE, signal: None, at: jiff::Timestamp::now() };
        serde_json::from_slice(&text).unwrap_or_else(|_| lost())
    }
}
