//! Volumes that are folders: empty ones, and those of the node.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};

/// Paths of the machine that pods see as they are; all others lie under the node's root.
const MACHINE: [&str; 4] = ["/proc", "/sys", "/dev", "/lib/modules"];

/// Makes an empty folder that everybody may write to. `memory` makes it a file system in memory.
///
/// # Errors
/// When it cannot be made.
pub fn empty(path: &Path, memory: Option<Option<u64>>, group: Option<u32>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    if let Some(bytes) = memory {
        let size = bytes.map_or_else(|| "mode=0777".to_owned(), |bytes| format!("mode=0777,size={bytes}"));
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(size.as_str()))?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    chown(path, None, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Finds a path of the node, and makes it if its type asks for that.
///
/// # Errors
/// When it is not what the type says, or leads out of the node.
pub fn host(root: &Path, path: &str, kind: &str) -> io::Result<PathBuf> {
    let own = MACHINE.iter().any(|own| Path::new(path).starts_with(own));
    let place = if own { PathBuf::from(path) } else { root.join(path.trim_start_matches('/')) };
    if path.split('/').any(|part| part == "..") {
        return Err(refused(path, "has `..` in it"));
    }
    let make_parent = || place.parent().map_or(Ok(()), fs::create_dir_all);
    if !place.exists() && !own {
        match kind {
            "" | "DirectoryOrCreate" => fs::create_dir_all(&place)?,
            "FileOrCreate" => {
                make_parent()?;
                fs::File::create(&place)?;
            }
            _ => {}
        }
    }
    let kept = place.canonicalize().map_err(|_| refused(path, "does not exist"))?;
    if !own && !kept.starts_with(root.canonicalize()?) {
        return Err(refused(path, "leads out of the node"));
    }
    let is = kept.metadata()?.file_type();
    let right = match kind {
        "Directory" | "DirectoryOrCreate" => is.is_dir(),
        "File" | "FileOrCreate" => is.is_file(),
        "Socket" => is.is_socket(),
        "CharDevice" => is.is_char_device(),
        "BlockDevice" => is.is_block_device(),
        _ => true,
    };
    if right { Ok(kept) } else { Err(refused(path, &format!("is not a {kind}"))) }
}

fn refused(path: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("hostPath {path} {why}"))
}

/// The place of a `subPath` in a volume; made as a folder if nothing is there.
///
/// # Errors
/// When it leads out of the volume.
pub fn sub_path(volume: &Path, sub: &str) -> io::Result<PathBuf> {
    if sub.starts_with('/') || sub.split('/').any(|part| part == "..") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath {sub:?} leads out of the volume"),
        ));
    }
    let place = volume.join(sub);
    if !place.exists() {
        fs::create_dir_all(&place)?;
    }
    let kept = place.canonicalize()?;
    if kept.starts_with(volume.canonicalize()?) {
        return Ok(kept);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("subPath {sub:?} leads out of the volume")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_node_lie_under_its_root_and_are_made_as_asked() {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("run")).unwrap();
        fs::create_dir_all(top.join("var")).unwrap();
        std::os::unix::fs::symlink("../run", top.join("var/run")).unwrap();
        std::os::unix::fs::symlink("/etc", top.join("out")).unwrap();
        let ok = |path: &str, kind: &str| host(&top, path, kind).ok();
        assert_eq!(ok("/var/run/x", "DirectoryOrCreate"), Some(top.join("run/x")));
        assert_eq!(ok("/etc/f", "FileOrCreate"), Some(top.join("etc/f")));
        assert_eq!(ok("/etc/f", "File"), Some(top.join("etc/f")));
        assert_eq!(ok("/etc/f", "Directory"), None);
        assert_eq!(ok("/none", "Directory"), None);
        assert_eq!(ok("/none", ""), Some(top.join("none")));
        assert_eq!(ok("/proc", ""), Some("/proc".into()));
        assert_eq!(ok("/out", ""), None);
        assert_eq!(ok("/a/../../b", ""), None);
    }

    #[test]
    fn sub_paths_stay_in_their_volume() {
        let volume = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", volume.path().join("out")).unwrap();
        assert!(sub_path(volume.path(), "a/b").unwrap().is_dir());
        assert!(sub_path(volume.path(), "../b").is_err());
        assert!(sub_path(volume.path(), "/b").is_err());
        assert!(sub_path(volume.path(), "out").is_err());
    }
}
