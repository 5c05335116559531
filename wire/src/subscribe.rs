//! Hears what the control plane tells, and hands it to the program, whole.
//!
//! *Flow*: connect, present what is held, collect a draft, swap at its checkpoint, acknowledge. *Guarantees*: the
//! program sees only whole checkpoints; a resource that it cannot take stays as it was and is refused by name; what
//! is held is not sent again, across reconnects and restarts. *Caveats*: channels are given, and their keepalive is
//! the giver's; a server that sends no `strait.v1.Checkpoint` leaves the program unready, with the reason.

mod draft;
mod receiver;
mod state;
mod task;
mod wants;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

pub use draft::{PUSH_BYTES_MAX, PUSH_RESPONSES_MAX, StreamError};
pub use receiver::{Batch, Checkpoint, Origin, Receiver};
pub use state::{Reply, State};
pub use task::{OnDemand, RESPONSE_BYTES_MAX, Subscriber};
pub use wants::WantError;

pub use crate::publish::Announcement;

/// What a subscriber must be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the proxy says of itself.
    pub announcement: Announcement,
    /// Where the last good configuration is kept; none: nowhere.
    pub store: Option<PathBuf>,
    /// Waits between streams.
    pub backoff: runtime::backoff::Config,
    /// For how long a checkpoint is awaited before the stored configuration is used.
    pub disk_after: Duration,
    /// The least time between two writes of the stored configuration.
    pub store_interval: Duration,
    /// Most names asked for on demand at a time.
    pub wants_max: usize,
    /// After how long without use a name is given up.
    pub want_idle: Duration,
    /// Any random number.
    pub chance: fn() -> u64,
    /// The time of day.
    pub now: fn() -> SystemTime,
}

impl Config {
    /// The usual values.
    pub fn new(announcement: Announcement, store: Option<PathBuf>, chance: fn() -> u64) -> Self {
        Self {
            announcement,
            store,
            backoff: runtime::backoff::Config {
                first: Duration::from_millis(100),
                most: Duration::from_secs(5),
            },
            disk_after: Duration::from_secs(2),
            store_interval: Duration::from_millis(100),
            wants_max: 1024,
            want_idle: Duration::from_secs(600),
            chance,
            now: SystemTime::now,
        }
    }
}
