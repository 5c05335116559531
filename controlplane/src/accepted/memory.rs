//! The last accepted form of each object on disk: one private file, written whole, with a checksum.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{Name, Object};
use runtime::sealed::{SealedError, SealedFile};
use serde::{Deserialize, Serialize};

use super::kept::Kept;

/// Kind and version of the file.
const KIND: &str = "accepted/1";
/// Largest file: what all folders may hold, and what JSON adds.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Where it is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    file: SealedFile,
    path: PathBuf,
}

/// Why something was not remembered.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemoryError {
    #[error(transparent)]
    File(#[from] SealedError),
    #[error("{path} has another form than this version writes")]
    Form {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    file: String,
    object: Arc<Object>,
}

impl Memory {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join("objects");
        Self { file: SealedFile::new(&path, KIND, BYTES_MAX), path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self) -> Result<BTreeMap<Name, Kept>, MemoryError> {
        let body = self.file.read()?.unwrap_or_default();
        let mut kept = BTreeMap::new();
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // An object that this version no longer reads is absent, as if it had never been accepted; the
            // others stay. The checksum proved that it is what was written.
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            kept.insert(line.object.name(), Kept { object: line.object, file: line.file });
        }
        Ok(kept)
    }

    pub(super) fn write(&self, kept: &BTreeMap<Name, Kept>) -> Result<(), MemoryError> {
        let mut body = Vec::new();
        for Kept { object, file } in kept.values() {
            let line = Line { file: file.clone(), object: Arc::clone(object) };
            let form = |cause| MemoryError::Form { path: self.path.clone(), cause };
            serde_json::to_writer(&mut body, &line).map_err(form)?;
            body.push(b'\n');
        }
        Ok(self.file.write(&body)?)
    }
}
