//! Mounts of the machine: a container's root, and folders with mounts under them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Puts a writable layer over an image's root, in the container's folder; gives back the new root.
pub(super) fn overlay(folder: &Path, lower: &Path) -> io::Result<PathBuf> {
    let root = folder.join("rootfs");
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    for made in [&root, &upper, &work] {
        fs::create_dir_all(made)?;
    }
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))?;
    Ok(root)
}

/// Unmounts everything under a folder, and removes it. What is gone is no error.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    unmount_under(folder)?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Unmounts everything under a folder, the last mounted first.
pub(super) fn unmount_under(folder: &Path) -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let places =
        table.lines().filter_map(|line| line.split(' ').nth(4)).map(|text| text.replace("\\040", " "));
    let mut under: Vec<PathBuf> = places.map(PathBuf::from).filter(|path| path.starts_with(folder)).collect();
    under.reverse();
    for path in under {
        let _ = umount2(&path, MntFlags::MNT_DETACH);
    }
    Ok(())
}

/// Makes a folder a mount of its own whose new mounts travel to those who see it: pods with
/// `HostToContainer` mounts need that.
pub(super) fn share(folder: &Path) -> io::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let mounted = table.lines().any(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == folder));
    if !mounted {
        mount(Some(folder), folder, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    }
    Ok(mount(None::<&str>, folder, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?)
}
