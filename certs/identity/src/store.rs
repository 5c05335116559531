//! Identities on disk: certificates with their keys, 0600 in a 0700 directory, so that a restart needs no authority.
//!
//! Corrupt is absent. What is read is checked again like what comes from the authority.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use mesh::{Identity, TrustDomain};
use runtime::sealed::{SealedError, SealedFile};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

/// Largest store.
const STORE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The file of a program's identities.
#[derive(Debug, Clone)]
pub struct Store {
    file: SealedFile,
}

/// One identity's certificate and key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    pub(crate) chain_der: Vec<Vec<u8>>,
    pub(crate) key_pkcs8_der: Vec<u8>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.key_pkcs8_der.zeroize();
    }
}

/// All that is kept.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) identities: BTreeMap<Identity, Parts>,
    /// The roots that the authority named last, by trust domain.
    pub(crate) roots: BTreeMap<TrustDomain, Vec<Vec<u8>>>,
}

impl Store {
    /// The store in a directory, which is made (0700) when something is written.
    pub fn new(directory: &Path) -> Self {
        let path: PathBuf = directory.join("identities");
        Self { file: SealedFile::new(path, "identities/1", STORE_BYTES_MAX) }
    }

    /// What is stored; nothing if it is not there or not whole.
    pub(crate) fn read(&self) -> Stored {
        let body = match self.file.read() {
            Ok(Some(body)) => Zeroizing::new(body),
            Ok(None) => return Stored::default(),
            Err(cause) => {
                tracing::warn!(%cause, "the stored identities cannot be used; they are fetched anew");
                return Stored::default();
            }
        };
        serde_json::from_slice(&body).unwrap_or_else(|cause| {
            tracing::warn!(%cause, "the stored identities cannot be read; they are fetched anew");
            Stored::default()
        })
    }

    pub(crate) fn write(&self, stored: &Stored) -> Result<(), SealedError> {
        let body = serde_json::to_vec(stored).map(Zeroizing::new).map_err(|cause| SealedError::Disk {
            act: "encode",
            path: self.file.path().to_owned(),
            cause: cause.into(),
        })?;
        self.file.write(&body)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_absence() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::new(&directory.path().join("proxy"));
        assert!(store.read() == Stored::default());
        let parts = Parts { chain_der: vec![vec![1], vec![2]], key_pkcs8_der: vec![3] };
        let stored = Stored {
            identities: BTreeMap::from([("spiffe://east/a".parse().unwrap(), parts)]),
            roots: BTreeMap::from([("east".parse().unwrap(), vec![vec![4]])]),
        };
        store.write(&stored).unwrap();
        assert!(store.read() == stored);
        let mut bytes = fs::read(store.file.path()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(store.file.path(), bytes).unwrap();
        assert!(store.read() == Stored::default());
        store.file.write(b"{\"identities\": 7}").unwrap();
        assert!(store.read() == Stored::default());
    }
}
