//! Removes a rig, whatever state it is in: processes, mounts, namespaces, links, control groups, folder.
//!
//! Everything is found by the rig's own names on the machine, not by what somebody remembers, so that what a
//! crash left is found too.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use rig_network::mounts;

use crate::{
    process::{Identity, kill_all},
    state::{Home, ids},
};

/// How long all control groups may take to be empty once what ran in them has ended.
const GROUPS_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is tried.
const GROUPS_PERIOD: Duration = Duration::from_millis(2);

/// Removes the rig. What is gone already is no error.
pub(crate) fn remove(home: &Home) -> anyhow::Result<()> {
    let own = Identity::own()?;
    let recorded: Vec<Identity> =
        home.processes().list().iter().map(|process| process.identity).filter(|one| *one != own).collect();
    kill_all(&recorded)?;
    // What those started lives on in the rig's namespaces; new ones may appear while we look.
    loop {
        let inside: Vec<Identity> = inhabitants(home).into_iter().filter(|one| *one != own).collect();
        if inside.is_empty() {
            break;
        }
        kill_all(&inside)?;
    }
    rig_network::sweep(home.id()).context("cannot remove the rig's network")?;
    let begin = Instant::now();
    control_groups(home.id(), &mut |group| remove_group(group, begin));
    match fs::remove_dir_all(home.folder()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", home.folder().display())),
    }
}

/// Removes the rigs whose owner died without removing them.
pub(crate) fn abandoned() -> anyhow::Result<()> {
    for id in ids() {
        let home = Home::of(&id);
        // One that is being removed by somebody else cannot be read, and need not be.
        let Ok(record) = home.read() else { continue };
        if record.owner.is_some_and(|owner| !owner.is_alive()) {
            remove(&home)?;
        }
    }
    Ok(())
}

/// What is left of a rig on this machine, one line each; nothing after a good removal.
pub fn remains(id: &str) -> Vec<String> {
    let home = Home::of(id);
    let mut all = rig_network::leftovers(id);
    all.extend(
        home.processes()
            .list()
            .iter()
            .filter(|one| one.identity.is_alive())
            .map(|one| format!("process {} ({})", one.identity.pid, one.launch.name)),
    );
    all.extend(inhabitants(&home).iter().map(|one| format!("process {} in a namespace of the rig", one.pid)));
    control_groups(id, &mut |group| all.push(format!("control group {}", group.display())));
    if home.folder().exists() {
        all.push(format!("folder {}", home.folder().display()));
    }
    all
}

/// The processes in the rig's network namespaces, and those that were started for something in its folder.
fn inhabitants(home: &Home) -> Vec<Identity> {
    let namespaces = namespaces(home);
    let folder = home.folder().to_string_lossy().into_owned();
    processes(|process| is_in(process, &namespaces) || mentions(process, &folder))
}

/// The processes in these network namespaces.
fn within(namespaces: &BTreeSet<u64>) -> Vec<Identity> {
    processes(|process| is_in(process, namespaces))
}

fn processes(is_wanted: impl Fn(&Path) -> bool) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_wanted(&PathBuf::from(format!("/proc/{pid}")))).filter_map(Identity::of).collect()
}

fn is_in(process: &Path, namespaces: &BTreeSet<u64>) -> bool {
    fs::metadata(process.join("ns/net")).is_ok_and(|found| namespaces.contains(&found.ino()))
}

/// Whether a process was started for something below the rig's folder, as a container's keeper is.
fn mentions(process: &Path, folder: &str) -> bool {
    let Ok(line) = fs::read(process.join("cmdline")) else { return false };
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let ours = [&b"podlet"[..], b"rig", b"runc"].iter().any(|name| program.ends_with(name));
    ours && String::from_utf8_lossy(&line).contains(&format!("{folder}/"))
}

/// The inodes of the rig's network namespaces: those with names, and those of pods.
fn namespaces(home: &Home) -> BTreeSet<u64> {
    let prefix = rig_network::plan::prefix(home.id());
    let mut files: Vec<PathBuf> = Vec::new();
    if let Ok(entries) = fs::read_dir("/run/netns") {
        files.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
                .map(|entry| entry.path()),
        );
    }
    files.extend(
        mounts(home.folder())
            .into_iter()
            .filter(|path| path.parent().is_some_and(|in_| in_.ends_with("netns"))),
    );
    files.iter().filter_map(|file| fs::metadata(file).ok()).map(|found| found.ino()).collect()
}

/// The rig's control groups, deepest first, in each hierarchy.
fn control_groups(id: &str, visit: &mut dyn FnMut(&Path)) {
    let Ok(hierarchies) = fs::read_dir("/sys/fs/cgroup") else { return };
    for hierarchy in hierarchies.flatten() {
        if !hierarchy.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(entries) = fs::read_dir(hierarchy.path()) else { continue };
        let prefix = rig_network::plan::prefix(id);
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if format!("{name}-").starts_with(&prefix) {
                deepest_first(&entry.path(), visit);
            }
        }
    }
}

/// A killed process leaves its groups a moment after it has ended; until then they cannot be removed. One that stays
/// is told by [`remains`].
fn remove_group(group: &Path, begin: Instant) {
    while fs::remove_dir(group).is_err_and(|error| error.kind() == std::io::ErrorKind::ResourceBusy)
        && begin.elapsed() < GROUPS_TIMEOUT
    {
        std::thread::sleep(GROUPS_PERIOD);
    }
}

fn deepest_first(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            deepest_first(&entry.path(), visit);
        }
    }
    visit(folder);
}

/// Ends everything that runs in a node's namespace and in those of its pods, as a loss of power would.
pub(crate) fn empty_node(node: &rig_network::plan::NodePlan<'_>) -> anyhow::Result<()> {
    let mut inodes = BTreeSet::new();
    let own = Path::new("/run/netns").join(node.namespace());
    let pods = mounts(&node.root());
    for file in
        pods.iter().filter(|path| path.parent().is_some_and(|in_| in_.ends_with("netns"))).chain([&own])
    {
        if let Ok(found) = fs::metadata(file) {
            inodes.insert(found.ino());
        }
    }
    kill_all(&within(&inodes))
}
