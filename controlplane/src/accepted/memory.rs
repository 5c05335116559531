//! The last accepted form of each object on disk: one private file, written whole, with a checksum.
//!
//! Secrets are sealed in it by a key that lies beside it. Whoever can read the whole directory can open them, as he can
//! read the root's key; a copy of the objects alone (in a backup, a report of a fault) tells none.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use api::{Name, Object};
use runtime::{
    sealed::{SealedError, SealedFile},
    vault::{KEY_BYTES, KeyError, Vault},
};
use serde::{Deserialize, Serialize};

use super::kept::Kept;

/// Kind and version of the file.
const KIND: &str = "accepted/1";
/// Largest file: what all folders may hold, and what JSON adds.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The form of what is sealed.
const FORM: u8 = 1;

/// Where it is remembered.
#[derive(Debug)]
pub(super) struct Memory {
    file: SealedFile,
    key: SealedFile,
    path: PathBuf,
}

/// Why something was not remembered.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemoryError {
    #[error(transparent)]
    File(#[from] SealedError),
    #[error("the key that seals Secrets cannot be used")]
    Key(#[from] KeyError),
    #[error("a Secret cannot be sealed")]
    Seal,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<Arc<Object>>,
    /// In place of an object that is a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

impl Memory {
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join("objects");
        let key = SealedFile::new(directory.join("key"), "accepted-key/1", KEY_BYTES as u64);
        Self { file: SealedFile::new(&path, KIND, BYTES_MAX), key, path }
    }

    /// What seals Secrets; made where there is none yet.
    fn vault(&self) -> Result<Vault, MemoryError> {
        let key = match self.key.read()? {
            Some(key) => key,
            None => {
                let mut key = [0; KEY_BYTES];
                rand::fill(&mut key[..]);
                self.key.create(&key)?;
                self.key.read()?.unwrap_or_default()
            }
        };
        Ok(Vault::new("accepted", &key, &[])?)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&self) -> Result<BTreeMap<Name, Kept>, MemoryError> {
        let Some(body) = self.file.read()? else { return Ok(BTreeMap::new()) };
        // Without its key a Secret is absent; that it is, is said when they are written next.
        let vault = self.vault().ok();
        let mut kept = BTreeMap::new();
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // An object that this version no longer reads is absent, as if it had never been accepted; the
            // others stay. The checksum proved that it is what was written.
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            let opened = || {
                let plain = vault.as_ref()?.open(FORM, "", line.sealed.as_deref()?)?;
                serde_json::from_slice(&plain).ok().map(Arc::new)
            };
            let Some(object) = line.object.clone().or_else(opened) else { continue };
            kept.insert(object.name(), Kept { object, file: line.file });
        }
        Ok(kept)
    }

    pub(super) fn write(&self, kept: &BTreeMap<Name, Kept>) -> Result<(), MemoryError> {
        let mut body = Vec::new();
        let mut vault = None;
        for Kept { object, file } in kept.values() {
            let form = |cause| MemoryError::Form { path: self.path.clone(), cause };
            let mut line = Line { file: file.clone(), object: Some(Arc::clone(object)), sealed: None };
            if matches!(**object, Object::Secret(_)) {
                let plain = serde_json::to_vec(object).map_err(form)?;
                let vault = match &mut vault {
                    Some(vault) => vault,
                    none => none.insert(self.vault()?),
                };
                let sealed = vault.seal_alike(FORM, "", plain).ok_or(MemoryError::Seal)?;
                line = Line { object: None, sealed: Some(sealed), ..line };
            }
            serde_json::to_writer(&mut body, &line).map_err(form)?;
            body.push(b'\n');
        }
        Ok(self.file.write(&body)?)
    }
}
