//! Removes whatever there is of a rig's network, however it came to be there, and names what is left.
//!
//! Everything is found by the rig's own names: namespaces by their prefix, mounts by the rig's folder,
//! processes by the namespace they are in. So a rig that was half built, or half removed, is swept as well as
//! a whole one, and sweeping twice is no error. The folder itself belongs to who made it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};

use crate::fabric::{Fabric, names};
use crate::namespace::{self, Namespace};
use crate::plan::{self, PlanError};
use crate::process::{self, Recorded};

/// How long a killed process may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often processes are looked for again: what was killed may have started others meanwhile.
const KILL_ROUNDS_MAX: usize = 16;
/// How often mounts are looked for again: one may hide another.
const UNMOUNT_ROUNDS_MAX: usize = 64;

/// Why something of a rig stays.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// There is no such rig, nor could there be.
    #[error(transparent)]
    Id(#[from] PlanError),
    /// A process does not end.
    #[error("these processes in the rig's network do not end: {0:?}")]
    Processes(Vec<i32>),
    /// A mount does not go.
    #[error("these mounts of the rig do not go away: {0:?}")]
    Mounts(Vec<PathBuf>),
    /// A namespace does not go.
    #[error("cannot remove the rig's network namespaces")]
    Namespaces(#[source] io::Error),
}

/// Ends the processes in a rig's namespaces, unmounts what is below its folder, removes its namespaces.
pub fn sweep(id: &str) -> Result<(), SweepError> {
    plan::check_id(id)?;
    end_processes(id)?;
    unmount(&plan::folder(id))?;
    Fabric::remove(id).map_err(SweepError::Namespaces)
}

/// What is left of a rig's network on this machine, a line each.
pub fn leftovers(id: &str) -> Vec<String> {
    let mut left: Vec<String> = names(id).iter().map(|name| format!("network namespace {name}")).collect();
    left.extend(inhabitants(id).iter().map(|one| format!("process {} in the rig's network", one.pid)));
    left.extend(mounts(&plan::folder(id)).iter().map(|point| format!("mount {}", point.display())));
    left.extend(links(id).iter().map(|link| format!("link {link}")));
    left
}

fn end_processes(id: &str) -> Result<(), SweepError> {
    for _ in 0..KILL_ROUNDS_MAX {
        let all = inhabitants(id);
        if all.is_empty() {
            return Ok(());
        }
        let stays: Vec<i32> =
            all.iter().filter(|one| !matches!(one.kill(GONE_TIMEOUT), Ok(true))).map(|one| one.pid).collect();
        if !stays.is_empty() {
            return Err(SweepError::Processes(stays));
        }
    }
    Err(SweepError::Processes(inhabitants(id).iter().map(|one| one.pid).collect()))
}

fn inhabitants(id: &str) -> Vec<Recorded> {
    let named = names(id).into_iter().map(|name| Namespace::named(&name).path().to_owned());
    let all = named.chain(mounts(&plan::folder(id)));
    let inodes: Vec<u64> = all.filter_map(|file| namespace::inode(&file)).collect();
    if inodes.is_empty() { Vec::new() } else { process::within(&inodes) }
}

fn unmount(folder: &Path) -> Result<(), SweepError> {
    for _ in 0..UNMOUNT_ROUNDS_MAX {
        let all = mounts(folder);
        if all.is_empty() {
            return Ok(());
        }
        for point in all.iter().rev() {
            // One may go with the one it hangs on; the next round sees what is left.
            let _ = umount2(point, MntFlags::MNT_DETACH);
        }
    }
    Err(SweepError::Mounts(mounts(folder)))
}

/// The mounts at or below a folder, in the order in which they were made.
pub fn mounts(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points =
        table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    points.map(unescape).filter(|point| point.starts_with(folder)).collect()
}

/// Blanks and backslashes in paths are written as `\ooo` (proc_pid_mountinfo(5)).
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal =
            after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Links of the rig in the namespace of this process, where it never makes any.
fn links(id: &str) -> Vec<String> {
    let all = nix::net::if_::if_nameindex();
    let names = all.iter().flatten().map(|link| link.name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&plan::prefix(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_are_read_as_they_are() {
        for (text, path) in
            [("/a\\040b", "/a b"), ("/plain", "/plain"), ("/x\\134", "/x\\"), ("/end\\1", "/end\\1")]
        {
            assert_eq!(unescape(text.as_bytes()), Path::new(path));
        }
    }

    #[test]
    fn an_id_that_could_leave_the_folder_is_not_swept() {
        assert!(matches!(sweep("../x"), Err(SweepError::Id(_))));
        assert!(matches!(sweep(""), Err(SweepError::Id(_))));
    }
}
