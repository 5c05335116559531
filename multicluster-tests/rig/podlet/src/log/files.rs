//! The files of one log: `0.log` is written, `0.log.1` was full before it, `0.log.2` before that.

use std::io;
use std::path::{Path, PathBuf};

use super::writer::FILES_MAX;

/// The file that was the `age`th before the one that is written.
pub(crate) fn older(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    PathBuf::from(name)
}

/// All files of the log that there are, the oldest first.
pub(crate) fn all(path: &Path) -> Vec<PathBuf> {
    let rotated = (1..FILES_MAX).rev().map(|age| older(path, age)).filter(|file| file.exists());
    rotated.chain(std::iter::once(path.to_owned())).collect()
}

/// Makes room for a new file, the oldest goes.
pub(crate) fn rotate(path: &Path) -> io::Result<()> {
    for age in (1..FILES_MAX).rev() {
        let newer = if age == 1 { path.to_owned() } else { older(path, age - 1) };
        match std::fs::rename(newer, older(path, age)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
