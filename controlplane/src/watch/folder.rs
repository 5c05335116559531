//! What stands in the folders now: which files, and what each says.
//!
//! Every file is read at each look, and parsed only if its text changed; so nothing depends on how exactly a
//! file system tells times. Folders are looked into one level deep.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{Place, Reason};

use super::documents::{self, Written};
use crate::admit::Compile;

/// Largest file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most files that are read.
pub(crate) const FILES_MAX: usize = 2_000;
/// Most bytes of all files together.
pub(crate) const TOTAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Names of files that are read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What one file says.
#[derive(Debug)]
pub(crate) struct FileRead {
    /// Its name, as errors tell it.
    pub(crate) name: String,
    /// Its objects, in their order.
    pub(crate) written: Vec<Written>,
}

/// Folders and files that are looked at, and what was seen last.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    roots: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    text: Result<String, String>,
    read: Arc<FileRead>,
}

/// One look.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// What each file says, sorted by name.
    pub(crate) files: Vec<Arc<FileRead>>,
    /// Folders that could not be read: what they held is not known to be gone.
    pub(crate) unreadable: Vec<Written>,
}

impl Folder {
    /// Looks at folders, and at files by themselves.
    pub(crate) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, seen: BTreeMap::new() }
    }

    /// Every folder in which something can change.
    pub(crate) fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for root in &self.roots {
            match root.is_dir() {
                true => {
                    folders.extend(inner_folders(root).unwrap_or_default());
                    folders.insert(root.clone());
                }
                false => folders.extend(root.parent().map(|parent| match parent.as_os_str().is_empty() {
                    true => PathBuf::from("."),
                    false => parent.to_owned(),
                })),
            }
        }
        folders
    }

    /// Looks again. Files that `is_being_written` are taken as they were seen last.
    pub(crate) fn look(&mut self, compile: Compile<'_>, is_being_written: impl Fn(&Path) -> bool) -> Look {
        let mut look = Look::default();
        let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
        for root in &self.roots {
            match list(root) {
                Ok(found) => files.extend(found.into_iter().map(|path| {
                    let name = shown(&path, root, self.roots.len() == 1);
                    (path, name)
                })),
                Err(error) => {
                    let place = Place { file: root.display().to_string(), line: 0 };
                    let message = format!("cannot be read: {error}");
                    let remedy = "make it readable; until then what it said stays in force";
                    look.unreadable.push(Written::unnamed(place, Reason::Unreadable, message, remedy));
                }
            }
        }
        let mut seen = BTreeMap::new();
        let mut total = 0;
        for (count, (path, name)) in files.into_iter().enumerate() {
            let last = self.seen.remove(&path);
            if is_being_written(&path) {
                // One that was never seen whole is not there yet.
                seen.extend(last.map(|last| (path, last)));
                continue;
            }
            let text = match count < FILES_MAX {
                true => read_text(&path, TOTAL_BYTES_MAX.saturating_sub(total)),
                false => Err(format!("is one of more than {FILES_MAX} files, and is not read")),
            };
            total += text.as_ref().map_or(0, |text| text.len() as u64);
            match last {
                Some(last) if last.text == text => seen.insert(path, last),
                _ => {
                    let written = match &text {
                        Ok(text) => documents::read(&name, text, compile),
                        Err(cause) => vec![unreadable(&name, cause)],
                    };
                    seen.insert(path, Seen { text, read: Arc::new(FileRead { name, written }) })
                }
            };
        }
        self.seen = seen;
        look.files = self.seen.values().map(|seen| Arc::clone(&seen.read)).collect();
        look.files.sort_by(|left, right| left.name.cmp(&right.name));
        look
    }
}

fn unreadable(name: &str, cause: &str) -> Written {
    let reason = match cause.starts_with("cannot") {
        true => Reason::Unreadable,
        false => Reason::TooLarge,
    };
    let remedy = match reason {
        Reason::Unreadable => "make it readable; until then what it said stays in force",
        _ => "split it; until then what it said stays in force",
    };
    Written::unnamed(Place { file: name.to_owned(), line: 0 }, reason, cause.to_owned(), remedy)
}

/// As errors tell it: inside the one folder that is watched, or with its folder if there are several.
fn shown(path: &Path, root: &Path, alone: bool) -> String {
    let inside = path.strip_prefix(root).ok().filter(|inside| alone && !inside.as_os_str().is_empty());
    match inside {
        Some(inside) => inside.display().to_string(),
        None if alone => {
            path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        }
        None => path.display().to_string(),
    }
}

/// The files of one root, one level deep.
fn list(root: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(root)?.is_dir() {
        return Ok(vec![root.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = inner_folders(root)?;
    folders.insert(0, root.to_owned());
    for folder in folders {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if is_ours(&path) && path.is_file() {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn inner_folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        if !is_hidden(&path) && path.is_dir() {
            folders.push(path);
        }
    }
    Ok(folders)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

/// True for names of files that are read; editors' own files are not.
pub(crate) fn is_ours(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending)) && !is_hidden(path)
}

fn read_text(path: &Path, bytes_left: u64) -> Result<String, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("has more than {} MiB, and is not read", FILE_BYTES_MAX / 1024 / 1024));
    }
    if bytes.len() as u64 > bytes_left {
        return Err(format!(
            "is beyond the {} MiB that all files may have together",
            TOTAL_BYTES_MAX / 1024 / 1024
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("cannot be read: line {line} is not UTF-8")
    })
}
