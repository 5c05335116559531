//! Writes a volume of files so that a reader sees all of the old or all of the new.
//!
//! Files lie in a folder with a new name each time, `..data` links to the current one, and what a
//! reader sees are links into `..data`, as Kubernetes does it; so `subPath` sees one state only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Component, Path},
};

/// The link to the folder that counts.
const DATA: &str = "..data";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub content: Vec<u8>,
    /// Its mode.
    pub mode: u32,
}

/// Writes `files`, by their paths under `folder`, in place of what was there. Does nothing if it is
/// the same. With `group`, the files are that group's, who may read them.
///
/// # Errors
/// When a path leads out of the folder, or it cannot be written.
pub fn write(folder: &Path, files: &BTreeMap<String, File>, group: Option<u32>) -> io::Result<()> {
    for path in files.keys() {
        let mut parts = Path::new(path).components();
        if path.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{path:?} leads out of the volume"),
            ));
        }
    }
    fs::create_dir_all(folder)?;
    let before = fs::read_link(folder.join(DATA)).ok();
    if let Some(before) = &before
        && same(&folder.join(before), files)
    {
        return Ok(());
    }
    let name = format!("..{}", jiff::Timestamp::now().as_nanosecond());
    let new = folder.join(&name);
    fs::create_dir(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        put(&new.join(path), file, group)?;
    }
    let link = folder.join("..data_tmp");
    let _ = fs::remove_file(&link);
    symlink(&name, &link)?;
    fs::rename(&link, folder.join(DATA))?;
    links(folder, files)?;
    if let Some(before) = before {
        fs::remove_dir_all(folder.join(before))?;
    }
    Ok(())
}

fn put(path: &Path, file: &File, group: Option<u32>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.content)?;
    let mode = if group.is_some() { file.mode | 0o440 } else { file.mode };
    chown(path, None, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn same(folder: &Path, files: &BTreeMap<String, File>) -> bool {
    let kept = |(path, file): (&String, &File)| {
        fs::read(folder.join(path)).is_ok_and(|content| content == file.content)
    };
    files.iter().all(kept) && count(folder) == files.len()
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
}

/// Makes the links that readers see, one for each first part of a path, and removes old ones.
fn links(folder: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, File> {
        let file = |content: &str| File { content: content.into(), mode: 0o640 };
        pairs.iter().map(|(path, content)| ((*path).to_owned(), file(content))).collect()
    }

    #[test]
    fn files_are_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| fs::read_to_string(folder.path().join(path)).ok();
        write(folder.path(), &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!((at("a").as_deref(), at("d/b").as_deref()), (Some("1"), Some("2")));
        let mode = fs::metadata(folder.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let first = fs::read_link(folder.path().join(DATA)).unwrap();
        write(folder.path(), &files(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(fs::read_link(folder.path().join(DATA)).unwrap(), first, "the same is not written");
        write(folder.path(), &files(&[("a", "3"), ("c", "4")]), None).unwrap();
        assert_eq!((at("a").as_deref(), at("d/b"), at("c").as_deref()), (Some("3"), None, Some("4")));
        assert!(!folder.path().join(first).exists());
    }

    #[test]
    fn a_path_that_leads_out_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../../x", ""] {
            assert!(write(folder.path(), &files(&[(path, "1")]), None).is_err(), "{path}");
        }
    }
}
