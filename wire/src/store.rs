//! The last good configuration on a proxy's disk.
//!
//! Written whole at a checkpoint, read whole at a start. What is damaged, of another version or open to others is
//! as if it were not there, and said in the log. (Identities and secrets have files of their own, whose writers are
//! elsewhere; the way of writing them is the same: `runtime::sealed`.)

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use mesh::{names::Version, resource::Key};
use prost::Message;
use proto::strait::v1::{StoredResource, StoredResources};
use runtime::sealed::{SealedError, SealedFile};

use crate::{
    encode::{key_of, type_url},
    subscribe::Checkpoint,
};

/// Most bytes of a stored configuration.
pub const STORE_BYTES_MAX: u64 = 256 << 20;
/// Names the format; another version is another kind.
const KIND: &str = "resources/1";

/// The file.
#[derive(Debug, Clone)]
pub struct Store {
    file: SealedFile,
}

/// What was held at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// When it was written.
    pub written: SystemTime,
    /// Everything that was held: key, version, bytes.
    pub resources: Vec<(Key, Version, Bytes)>,
}

impl Store {
    /// A store in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { file: SealedFile::new(path, KIND, STORE_BYTES_MAX) }
    }

    /// What was written last, if it can be read. Blocking.
    pub fn read(&self) -> Option<Stored> {
        let path = self.file.path().display();
        let body = match self.file.read() {
            Ok(body) => body?,
            Err(error) => {
                tracing::warn!(%path, %error, "the stored configuration is not used");
                return None;
            }
        };
        match StoredResources::decode(body.as_slice()) {
            Ok(stored) => Some(read(stored)),
            Err(error) => {
                tracing::warn!(%path, %error, "the stored configuration is not used");
                None
            }
        }
    }

    /// Writes in place of what was written before. Blocking.
    ///
    /// # Errors
    /// When it is too large or the disk fails; then what was written before stays.
    pub fn write(&self, stored: &Stored) -> Result<(), SealedError> {
        self.file.write(&write(stored).encode_to_vec())
    }
}

fn read(from: StoredResources) -> Stored {
    let entry = |it: StoredResource| Some((key_of(&it.type_url, &it.name)?, it.version.into(), it.value));
    Stored {
        checkpoint: Checkpoint { epoch: from.epoch, generation: from.generation, as_of: from.as_of },
        written: SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(from.written_at))
            .unwrap_or(SystemTime::UNIX_EPOCH),
        resources: from.resources.into_iter().filter_map(entry).collect(),
    }
}

fn write(from: &Stored) -> StoredResources {
    StoredResources {
        epoch: from.checkpoint.epoch.clone(),
        generation: from.checkpoint.generation,
        as_of: from.checkpoint.as_of,
        written_at: from.written.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        resources: from
            .resources
            .iter()
            .map(|(key, version, value)| StoredResource {
                type_url: type_url(key.kind).to_owned(),
                name: key.name.to_string(),
                version: version.to_string(),
                value: value.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mesh::resource::Kind;

    use super::*;

    fn stored() -> Stored {
        Stored {
            checkpoint: Checkpoint { epoch: "e".to_owned(), generation: 7, as_of: Some(9) },
            written: SystemTime::UNIX_EPOCH + Duration::from_secs(100),
            resources: vec![(
                Key::new(Kind::Policy, "AccessPolicy/a/b"),
                "v".into(),
                Bytes::from_static(b"bytes"),
            )],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::new(directory.path().join("state/resources"));
        assert_eq!(store.read(), None);
        store.write(&stored()).expect("written");
        assert_eq!(store.read(), Some(stored()));
    }

    #[test]
    fn what_is_damaged_is_not_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state/resources");
        let store = Store::new(&path);
        store.write(&stored()).expect("written");
        let good = fs::read(&path).expect("the file");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).expect("written");
            assert_eq!(store.read(), None, "byte {at}");
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).expect("written");
            assert_eq!(store.read(), None, "cut at {length}");
        }
    }
}
