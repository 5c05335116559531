//! The last good configuration on a proxy's disk.
//!
//! Written whole at a checkpoint, read whole at a start, secrets in a file of their own beside the rest. What is
//! damaged, of another version or open to others is as if it were not there, and said in the log. (Identities have
//! a file whose writer is elsewhere; the way of writing is the same: `runtime::sealed`.)

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use mesh::{
    names::Version,
    resource::{Key, Kind},
};
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
/// Names the format of the secrets.
const SECRETS_KIND: &str = "secrets/1";
/// What is kept with the secrets: it holds keys, or digests of keys.
const SECRET: [Kind; 2] = [Kind::Secret, Kind::Issuer];

/// The files.
#[derive(Debug, Clone)]
pub struct Store {
    file: SealedFile,
    secrets: SealedFile,
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
    /// A store in this file, with its secrets beside it.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let secrets = path.with_extension("secrets");
        Self {
            file: SealedFile::new(path, KIND, STORE_BYTES_MAX),
            secrets: SealedFile::new(secrets, SECRETS_KIND, STORE_BYTES_MAX),
        }
    }

    /// What was written last, if it can be read. Blocking.
    pub fn read(&self) -> Option<Stored> {
        let mut stored = read_file(&self.file)?;
        // Without its secrets the rest is still good: what needs one refuses.
        stored.resources.extend(read_file(&self.secrets).into_iter().flat_map(|secrets| secrets.resources));
        Some(stored)
    }

    /// Writes in place of what was written before. Blocking.
    ///
    /// # Errors
    /// When it is too large or the disk fails; then what was written before stays.
    pub fn write(&self, stored: &Stored) -> Result<(), SealedError> {
        let (secrets, others): (Vec<_>, Vec<_>) =
            stored.resources.iter().cloned().partition(|(key, ..)| SECRET.contains(&key.kind));
        let with = |resources| Stored { resources, ..stored.clone() };
        self.secrets.write(&write(&with(secrets)).encode_to_vec())?;
        self.file.write(&write(&with(others)).encode_to_vec())
    }
}

fn read_file(file: &SealedFile) -> Option<Stored> {
    let path = file.path().display();
    let body = match file.read() {
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
    fn secrets_have_a_file_of_their_own() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::new(directory.path().join("state/resources"));
        let mut with = stored();
        let canary = Bytes::from_static(b"canary");
        with.resources.push((Key::new(Kind::Secret, "Secret/a/b"), "v".into(), canary));
        store.write(&with).expect("written");
        assert_eq!(store.read(), Some(with));
        let plain = fs::read(directory.path().join("state/resources")).expect("the file");
        assert!(!plain.windows(6).any(|part| part == b"canary"));
        fs::remove_file(directory.path().join("state/resources.secrets")).expect("removed");
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
