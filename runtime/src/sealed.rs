//! A private file that is read whole, or not at all.
//!
//! It is written to a new file, flushed to disk and renamed, so a crash leaves the old or the new one. Its first
//! line names its kind and the checksum of the rest. File 0600, directory 0700; what others could have read or
//! written is refused. Blocking: to be called where blocking is allowed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use aws_lc_rs::digest::{SHA256, digest};

/// Longest first line, in bytes.
const HEADER_BYTES_MAX: u64 = 256;

/// One such file.
#[derive(Debug, Clone)]
pub struct SealedFile {
    path: PathBuf,
    kind: &'static str,
    body_bytes_max: u64,
}

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// Others than the owner may enter or read.
    #[error("{path} has mode {mode:o}; only its owner may have access (chmod go-rwx)")]
    TooOpen {
        /// Which file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The content is not what was written.
    #[error("{path} is damaged: {cause}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        cause: &'static str,
    },
    /// More than the file may hold.
    #[error("{path} has more than {bytes_max} bytes")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// The disk did not do it.
    #[error("cannot {act} {path}")]
    Disk {
        /// What was tried.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl SealedFile {
    /// A file of this kind (a word and a version, such as `root/1`), of at most so many bytes.
    pub fn new(path: impl Into<PathBuf>, kind: &'static str, body_bytes_max: u64) -> Self {
        Self { path: path.into(), kind, body_bytes_max }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its body, or `None` if there is no such file.
    ///
    /// # Errors
    /// When it is damaged, too large, readable by others, or the disk fails.
    pub fn read(&self) -> Result<Option<Vec<u8>>, SealedError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(self.disk("open", cause)),
        };
        let metadata = file.metadata().map_err(|cause| self.disk("inspect", cause))?;
        check_mode(&self.path, metadata.mode())?;
        let bytes_max = self.body_bytes_max.saturating_add(HEADER_BYTES_MAX);
        let mut content = Vec::new();
        file.take(bytes_max.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|cause| self.disk("read", cause))?;
        let header_end =
            content.iter().position(|byte| *byte == b'\n').ok_or(self.damaged("it has no first line"))?;
        let body = content.split_off(header_end + 1);
        if body.len() as u64 > self.body_bytes_max {
            return Err(SealedError::TooLarge { path: self.path.clone(), bytes_max: self.body_bytes_max });
        }
        if content != self.header(&body).as_bytes() {
            let kind = format!("strait {} ", self.kind);
            let known = content.starts_with(kind.as_bytes());
            return Err(self.damaged(if known {
                "its checksum is wrong"
            } else {
                "it is of another kind or version"
            }));
        }
        Ok(Some(body))
    }

    /// Writes it, in place of the one that is there.
    ///
    /// # Errors
    /// When the body is too large or the disk fails; then the old file stays.
    pub fn write(&self, body: &[u8]) -> Result<(), SealedError> {
        self.replace(body, |new, path| fs::rename(new, path))
    }

    /// Writes it unless there is one already. True if it was written.
    ///
    /// # Errors
    /// When the body is too large or the disk fails.
    pub fn create(&self, body: &[u8]) -> Result<bool, SealedError> {
        // A link, unlike a rename, never takes the place of a file.
        let mut written = true;
        self.replace(body, |new, path| match fs::hard_link(new, path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                written = false;
                fs::remove_file(new)
            }
            linked => linked.and_then(|()| fs::remove_file(new)),
        })?;
        Ok(written)
    }

    fn replace(
        &self,
        body: &[u8],
        put: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> Result<(), SealedError> {
        if body.len() as u64 > self.body_bytes_max {
            return Err(SealedError::TooLarge { path: self.path.clone(), bytes_max: self.body_bytes_max });
        }
        let directory =
            self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        private_directory(directory)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let new = directory.join(format!(".{name}.{}.new", process::id()));
        let written =
            write_new(&new, self.header(body).as_bytes(), body).and_then(|()| put(&new, &self.path));
        if let Err(cause) = written {
            // What is left of it is of no use; the cause is worth more than a second failure.
            let _ = fs::remove_file(&new);
            return Err(self.disk("write", cause));
        }
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|cause| self.disk("flush", cause))
    }

    fn header(&self, body: &[u8]) -> String {
        let mut header = format!("strait {} sha256:", self.kind);
        for byte in digest(&SHA256, body).as_ref() {
            header.push_str(&format!("{byte:02x}"));
        }
        header.push('\n');
        header
    }

    fn damaged(&self, cause: &'static str) -> SealedError {
        SealedError::Damaged { path: self.path.clone(), cause }
    }

    fn disk(&self, act: &'static str, cause: io::Error) -> SealedError {
        SealedError::Disk { act, path: self.path.clone(), cause }
    }
}

/// Makes sure that a directory is there and only its owner's; makes it, and those above it, 0700.
///
/// # Errors
/// When it is not a directory, open to others, or the disk fails.
pub fn private_directory(path: &Path) -> Result<(), SealedError> {
    let disk = |cause| SealedError::Disk { act: "make the directory", path: path.to_owned(), cause };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(disk)?;
    check_mode(path, fs::metadata(path).map_err(disk)?.mode())
}

fn check_mode(path: &Path, mode: u32) -> Result<(), SealedError> {
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(SealedError::TooOpen { path: path.to_owned(), mode: mode & 0o7777 })
    }
}

fn write_new(path: &Path, header: &[u8], body: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(header)?;
    file.write_all(body)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(directory: &tempfile::TempDir) -> SealedFile {
        SealedFile::new(directory.path().join("state/file"), "test/1", 64)
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        assert!(file.read().unwrap().is_none());
        for body in [&b"first"[..], b"", b"with\nlines\n", &[0xff; 64]] {
            file.write(body).unwrap();
            assert_eq!(file.read().unwrap().as_deref(), Some(body));
        }
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(file.path().parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn creating_never_replaces() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        assert!(file.create(b"one").unwrap());
        assert!(!file.create(b"two").unwrap());
        assert_eq!(file.read().unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn damage_at_any_byte_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        file.write(b"body").unwrap();
        let whole = fs::read(file.path()).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(file.path(), &damaged).unwrap();
            assert!(matches!(file.read(), Err(SealedError::Damaged { .. })), "byte {at}");
            fs::write(file.path(), &whole[..at]).unwrap();
            assert!(matches!(file.read(), Err(SealedError::Damaged { .. })), "cut at {at}");
        }
        let other = SealedFile::new(file.path(), "test/2", 64);
        fs::write(file.path(), &whole).unwrap();
        assert!(matches!(
            other.read(),
            Err(SealedError::Damaged { cause: "it is of another kind or version", .. })
        ));
    }

    #[test]
    fn the_bound_holds_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        file.write(&[1; 64]).unwrap();
        assert!(matches!(file.write(&[1; 65]), Err(SealedError::TooLarge { .. })));
        let larger = SealedFile::new(file.path(), "test/1", 65);
        larger.write(&[1; 65]).unwrap();
        assert!(matches!(file.read(), Err(SealedError::TooLarge { .. })));
    }

    #[test]
    fn what_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = file(&directory);
        file.write(b"secret").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(file.read(), Err(SealedError::TooOpen { mode: 0o640, .. })));
        let parent = file.path().parent().unwrap();
        fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(file.write(b"secret"), Err(SealedError::TooOpen { mode: 0o755, .. })));
    }
}
