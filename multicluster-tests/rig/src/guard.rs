//! Ends a rig that is shared by processes once the last of them is gone.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};

use crate::{
    process::Identity,
    state::{Home, above, write_whole},
    sweep,
};

/// How long a shared rig waits for the next user: between two test programs that share it, others may run.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How often the users are counted.
const PERIOD: Duration = Duration::from_millis(500);

/// Holds the right to bring a shared rig up or down; others wait.
pub(crate) struct Turn {
    _lock: Flock<fs::File>,
}

impl Turn {
    /// Waits for the turn. Blocks.
    pub(crate) fn wait(id: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(users(id)).with_context(|| format!("cannot create {}", users(id).display()))?;
        let path = above().join(format!("{id}.lock"));
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { _lock: lock })
    }
}

/// Notes this process as a user of the rig, for as long as it lives.
pub(crate) fn join(id: &str) -> anyhow::Result<()> {
    let own = Identity::own()?;
    write_whole(&users(id).join(format!("{}.json", own.pid)), &serde_json::to_vec(&own)?)
}

/// Watches the users of a rig and removes it when there has been none for a while.
pub(crate) fn run(id: &str) -> anyhow::Result<()> {
    let mut used = Instant::now();
    loop {
        if any_user(id) {
            used = Instant::now();
        }
        if used.elapsed() > IDLE_TIMEOUT {
            let _turn = Turn::wait(id)?;
            // Somebody may have come while we waited.
            if !any_user(id) {
                // The guard is one of the rig's processes: it takes itself out before it ends them.
                return sweep::remove(&Home::of(id));
            }
        }
        thread::sleep(PERIOD);
    }
}

fn any_user(id: &str) -> bool {
    let Ok(entries) = fs::read_dir(users(id)) else { return false };
    let mut any = false;
    for entry in entries.flatten() {
        let identity: Option<Identity> =
            fs::read(entry.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if identity.is_some_and(Identity::is_alive) {
            any = true;
        } else {
            // A draft that is being renamed is met by chance at most; its owner has it rewritten or is gone.
            let _ = fs::remove_file(entry.path());
        }
    }
    any
}

fn users(id: &str) -> PathBuf {
    above().join(format!("{id}.users"))
}
