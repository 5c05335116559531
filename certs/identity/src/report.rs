//! What a keeper holds, for people: the admin page and `strait get certificates`.

use std::time::SystemTime;

use mesh::Identity;
use serde::Serialize;

/// One wanted identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which.
    pub identity: Identity,
    /// Its certificate, if one is held, also after its end.
    pub held: Option<Held>,
    /// When the next one is asked for, in seconds since 1970.
    pub next_seconds: u64,
    /// How often asking failed since it last worked.
    pub failures: u32,
    /// Why it failed last.
    pub last_failure: Option<String>,
}

/// A certificate that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it begins, in seconds since 1970.
    pub not_before_seconds: u64,
    /// When it ends, in seconds since 1970.
    pub not_after_seconds: u64,
    /// True if it can be used now.
    pub valid: bool,
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
