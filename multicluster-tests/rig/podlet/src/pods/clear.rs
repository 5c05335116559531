//! Removes what is left of a container: what runc knows of it, its control groups, its folder.
//!
//! A command that was on its way into the container while runc removed it makes the container's
//! control groups anew, and holds them until it has failed. So this is tried again for a while.

use std::{fs, io, path::Path, time::Duration};

use super::mounts;
use crate::{backoff::Backoff, containers::ContainerId, runc::Runc};

/// Where control groups are found.
const GROUPS: &str = "/sys/fs/cgroup";
/// How often it is tried.
const TRIES_MAX: u32 = 8;
/// The first pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest.
const PAUSE_MOST: Duration = Duration::from_secs(2);

/// Removes a container, which is killed if it runs; its control groups lie in `parent`. What cannot
/// be removed is said in the log.
pub(super) async fn container(runc: &Runc, parent: &str, id: &ContainerId, folder: &Path) {
    let mut pause = Backoff::new(PAUSE, PAUSE_MOST);
    for turn in 1..=TRIES_MAX {
        let Err(why) = once(runc, parent, id, folder).await else { return };
        if turn == TRIES_MAX {
            tracing::warn!(%id, "a container left something behind, which goes with its node: {why}");
            return;
        }
        tracing::debug!(%id, turn, "a container is not removed yet: {why}");
        tokio::time::sleep(pause.pause()).await;
    }
}

async fn once(runc: &Runc, parent: &str, id: &ContainerId, folder: &Path) -> Result<(), String> {
    let output = runc.command().args(["delete", "--force", id.as_str()]).output().await;
    let output = output.map_err(|error| format!("cannot run runc: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("runc delete ended with {}: {}", output.status, said.trim()));
    }
    groups(Path::new(GROUPS), parent, id).map_err(|error| format!("its control groups stay: {error}"))?;
    mounts::remove(folder).map_err(|error| format!("its folder {} stays: {error}", folder.display()))
}

/// Removes a container's empty control groups, one in each hierarchy, or one at all where there is but
/// one hierarchy.
fn groups(top: &Path, parent: &str, id: &ContainerId) -> io::Result<()> {
    let hierarchies = fs::read_dir(top)?.filter_map(|entry| Some(entry.ok()?.path()));
    for hierarchy in hierarchies.chain([top.to_owned()]) {
        let group = hierarchy.join(parent).join(id.as_str());
        match fs::remove_dir(&group) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", group.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_groups_go_from_every_hierarchy_and_others_are_named() {
        let top = tempfile::tempdir().unwrap();
        let id = ContainerId::known("0123456789abcdef0123456789abcdef").unwrap();
        let group = |hierarchy: &str| top.path().join(hierarchy).join("node").join(id.as_str());
        for hierarchy in ["", "cpu", "memory"] {
            fs::create_dir_all(group(hierarchy)).unwrap();
        }
        groups(top.path(), "node", &id).unwrap();
        assert!(!["", "cpu", "memory"].iter().any(|hierarchy| group(hierarchy).exists()));
        groups(top.path(), "node", &id).unwrap();
        fs::create_dir_all(group("memory").join("in use")).unwrap();
        let error = groups(top.path(), "node", &id).unwrap_err();
        assert!(error.to_string().contains("memory/node/0123"), "{error}");
    }
}
