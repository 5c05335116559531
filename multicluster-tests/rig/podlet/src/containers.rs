//! What a container is to those who talk to it.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Name of one life of a container, for runc and in the status after `runc://`: 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

impl ContainerId {
    /// A new one, by chance.
    ///
    /// # Errors
    /// When the kernel gives no random number.
    pub fn fresh() -> std::io::Result<Self> {
        let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
        Ok(Self(uuid.chars().filter(char::is_ascii_hexdigit).collect()))
    }

    /// One that was written down; `None` if it is no such name.
    pub fn known(text: &str) -> Option<Self> {
        let right = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        right.then(|| Self(text.to_owned()))
    }

    /// One of a status, as [`Self::status`] writes it.
    pub fn told(text: &str) -> Option<Self> {
        Self::known(text.strip_prefix("runc://")?)
    }

    /// As runc takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the status has it.
    pub fn status(&self) -> String {
        format!("runc://{}", self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A container that runs.
#[derive(Debug, Clone)]
pub struct Running {
    /// Its name for runc.
    pub id: ContainerId,
    /// Its first process, as the machine counts.
    pub pid: i32,
    /// Its folder: the bundle (`config.json`, `rootfs`) and the shim's socket.
    pub folder: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Which life this is, from 0.
    pub attempt: u32,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether somebody may write to it.
    pub stdin: bool,
}

impl Running {
    /// The socket where its shim lets others attach; the protocol is [`crate::shim::frame`].
    pub fn attach_socket(&self) -> PathBuf {
        self.folder.join(crate::shim::ATTACH_SOCKET)
    }
}
