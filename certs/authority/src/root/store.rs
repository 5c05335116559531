//! The file of a root: 0600 in a 0700 directory of its own, written whole: once, and at each step of a rotation.
//!
//! A file that cannot be read is an error and never a reason to make another root: every certificate in use would
//! stop being believed.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::TrustDomain;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use runtime::sealed::{SealedFile, private_directory};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    root::{Held, Root, RootError, held::Replacing},
    rotation::{Phase, Which},
    serial::Serial,
};

/// Largest root file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The file of a root, in a directory of its own.
#[derive(Debug, Clone)]
pub struct RootStore {
    file: SealedFile,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    trust_domain: String,
    certificate: String,
    key: String,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    sequence: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rotation: Option<StoredRotation>,
}

/// The root that takes over, and how far it is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRotation {
    phase: StoredPhase,
    certificate: String,
    key: String,
    /// When the root that does not sign now did so last, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idle_since: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredPhase {
    Distribute,
    Sign,
    Retire,
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.key.zeroize();
        if let Some(rotation) = &mut self.rotation {
            rotation.key.zeroize();
        }
    }
}

fn first() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_first(sequence: &u64) -> bool {
    *sequence == first()
}

impl RootStore {
    /// The store in `directory`, which is made (0700) if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made or is open to others.
    pub fn open(directory: &Path) -> Result<Self, RootError> {
        private_directory(directory)?;
        Ok(Self { file: SealedFile::new(directory.join("root"), "root/1", FILE_BYTES_MAX) })
    }

    /// What is stored, or `None` if nothing was ever.
    ///
    /// # Errors
    /// When there is something that is not whole, or not of this trust domain.
    pub fn load(&self, trust_domain: &TrustDomain) -> Result<Option<Held>, RootError> {
        let Some(body) = self.file.read()?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let stored: Stored = serde_json::from_slice(&body).map_err(|cause| self.content(cause))?;
        if stored.trust_domain != trust_domain.as_str() {
            return Err(RootError::OtherTrustDomain {
                path: self.path(),
                found: stored.trust_domain.clone(),
                expected: trust_domain.clone(),
            });
        }
        let old = self.root(trust_domain, &stored.certificate, &stored.key)?;
        let replacing = match &stored.rotation {
            None => None,
            Some(rotation) => Some(Replacing {
                phase: match rotation.phase {
                    StoredPhase::Distribute => Phase::Distribute,
                    StoredPhase::Sign => Phase::Sign,
                    StoredPhase::Retire => Phase::Retire,
                },
                new: Arc::new(self.root(trust_domain, &rotation.certificate, &rotation.key)?),
                idle_since: match rotation.idle_since.map(Duration::from_secs) {
                    None => None,
                    Some(since) => {
                        let at = SystemTime::UNIX_EPOCH.checked_add(since);
                        Some(at.ok_or_else(|| self.content("no time"))?)
                    }
                },
            }),
        };
        Ok(Some(Held::stored(Arc::new(old), replacing, stored.sequence)))
    }

    fn root(&self, trust_domain: &TrustDomain, certificate: &str, key: &str) -> Result<Root, RootError> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
        let certificate = certificate.map_err(|_| self.content("no certificate"))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|_| self.content("no key"))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|_| self.content("its key is not a P-256 key"))?;
        Root::from_parts(trust_domain, certificate.to_vec(), key).map_err(|cause| self.content(cause))
    }

    /// What is stored; if nothing was ever, a new root that is stored first.
    ///
    /// # Errors
    /// As [`RootStore::load`], and when the new one cannot be made or stored.
    pub fn load_or_create(
        &self,
        trust_domain: &TrustDomain,
        lifetime: Duration,
        now: SystemTime,
        serial: Serial,
    ) -> Result<Held, RootError> {
        if let Some(held) = self.load(trust_domain)? {
            return Ok(held);
        }
        let held = Held::of(Root::generate(trust_domain, lifetime, now, serial)?);
        if self.file.create(&self.body(trust_domain, &held)?)? {
            return Ok(held);
        }
        // Another process was faster: its root is the root.
        self.load(trust_domain)?.ok_or_else(|| self.content("it came and went"))
    }

    /// Stores what is held from now on, in place of what was. A key that is not in it is gone.
    ///
    /// # Errors
    /// When it cannot be written; then what was stored stays.
    pub fn replace(&self, trust_domain: &TrustDomain, held: &Held) -> Result<(), RootError> {
        Ok(self.file.write(&self.body(trust_domain, held)?)?)
    }

    fn body(&self, trust_domain: &TrustDomain, held: &Held) -> Result<Zeroizing<Vec<u8>>, RootError> {
        let old = held.root(Which::Old).ok_or_else(|| self.content("no root"))?;
        let rotation = held.replacing().and_then(|replacing| {
            let phase = match replacing.phase {
                Phase::Distribute => StoredPhase::Distribute,
                Phase::Sign => StoredPhase::Sign,
                Phase::Retire => StoredPhase::Retire,
                Phase::Before | Phase::After => return None,
            };
            let since = replacing.idle_since.map(|at| at.duration_since(SystemTime::UNIX_EPOCH));
            Some(StoredRotation {
                phase,
                certificate: replacing.new.certificate_pem().to_owned(),
                key: replacing.new.issuer.key().serialize_pem(),
                // Rounded up: nothing may end sooner for it.
                idle_since: since.map(|since| since.unwrap_or_default().as_secs() + 1),
            })
        });
        let stored = Stored {
            trust_domain: trust_domain.to_string(),
            certificate: old.certificate_pem().to_owned(),
            key: old.issuer.key().serialize_pem(),
            sequence: held.sequence(),
            rotation,
        };
        Ok(Zeroizing::new(serde_json::to_vec(&stored).map_err(|cause| self.content(cause))?))
    }

    fn path(&self) -> String {
        self.file.path().display().to_string()
    }

    fn content(&self, cause: impl fmt::Display) -> RootError {
        RootError::Content { path: self.path(), cause: cause.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use rcgen::CertificateParams;
    use runtime::sealed::SealedError;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn serial(byte: u8) -> Serial {
        Serial::from_random([byte; 16])
    }

    fn east() -> TrustDomain {
        "east.example".parse().unwrap()
    }

    fn create(directory: &Path, byte: u8) -> Result<Arc<Root>, RootError> {
        let held = RootStore::open(directory)?.load_or_create(&east(), HOUR, now(), serial(byte))?;
        Ok(held.signing())
    }

    #[test]
    fn a_root_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        let made = create(&path, 1).unwrap();
        let found = create(&path, 2).unwrap();
        assert_eq!(made.certificate_der(), found.certificate_der());
        assert_eq!(found.trust_domain(), &east());
        assert_eq!((found.not_before(), found.not_after()), (now() - HOUR, now() + HOUR));
        assert_eq!(fs::metadata(path.join("root")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_root_is_an_error_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        create(&path, 1).unwrap();
        let file = path.join("root");
        let mut content = fs::read(&file).unwrap();
        let last = content.len() - 10;
        content[last] ^= 1;
        for damaged in [content.as_slice(), b""] {
            fs::write(&file, damaged).unwrap();
            assert!(matches!(create(&path, 2), Err(RootError::File(SealedError::Damaged { .. }))));
            assert_eq!(fs::read(&file).unwrap(), damaged);
        }
    }

    #[test]
    fn what_is_whole_but_no_root_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        let one = create(&path, 1).unwrap();
        let file = SealedFile::new(path.join("root"), "root/1", FILE_BYTES_MAX);
        let stored: Stored = serde_json::from_slice(&file.read().unwrap().unwrap()).unwrap();
        let other_key = KeyPair::generate().unwrap().serialize_pem();
        let with = |certificate: &str, key: &str| {
            let stored = Stored {
                trust_domain: east().to_string(),
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                sequence: 1,
                rotation: None,
            };
            serde_json::to_vec(&stored).unwrap()
        };
        let leaf = {
            let params = CertificateParams::default();
            params.self_signed(&KeyPair::from_pem(&stored.key).unwrap()).unwrap().pem()
        };
        let west = Root::generate(&"west".parse().unwrap(), HOUR, now(), serial(3)).unwrap();
        let cases = [
            (b"{}".to_vec(), "missing field"),
            (with("", &stored.key), "no certificate"),
            (with(&stored.certificate, ""), "no key"),
            (with(&stored.certificate, &other_key), "its key is not the one"),
            (with(&leaf, &stored.key), "not a certificate authority"),
            (with(west.certificate_pem(), &stored.key), "names \"spiffe://west\""),
        ];
        for (body, expected) in cases {
            file.write(&body).unwrap();
            let error = create(&path, 2).unwrap_err();
            assert!(
                matches!(error, RootError::Content { .. }) && error.to_string().contains(expected),
                "{error}"
            );
        }
        file.write(&with(one.certificate_pem(), &stored.key)).unwrap();
        assert!(create(&path, 2).is_ok());
    }

    #[test]
    fn every_phase_of_a_rotation_is_read_back_and_a_key_that_is_gone_is_not_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        let store = RootStore::open(&path).unwrap();
        let mut held = store.load_or_create(&east(), HOUR, now(), serial(1)).unwrap();
        let old_key = held.signing().issuer.key().serialize_pem();
        let body = || {
            let file = SealedFile::new(path.join("root"), "root/1", FILE_BYTES_MAX);
            String::from_utf8(file.read().unwrap().unwrap()).unwrap()
        };
        assert!(!body().contains("sequence"), "without a rotation the file is as it always was");
        let new = Root::generate(&east(), HOUR, now(), serial(2)).unwrap();
        let mut next = held.begin(new);
        let mut phases = Vec::new();
        while let Some(step) = next {
            store.replace(&east(), &step).unwrap();
            let found = store.load(&east()).unwrap().unwrap();
            assert_eq!((found.phase(), found.sequence()), (step.phase(), step.sequence()));
            assert_eq!(found.believed(), step.believed());
            for which in [Which::Old, Which::New] {
                assert_eq!(
                    found.unused_from(which),
                    step.unused_from(which).map(|at| match at {
                        SystemTime::UNIX_EPOCH => at,
                        at => at + Duration::from_secs(1),
                    })
                );
            }
            assert_eq!(fs::metadata(path.join("root")).unwrap().permissions().mode() & 0o777, 0o600);
            phases.push(step.phase());
            next = step.after(crate::rotation::Direction::Advance, now());
            held = step;
        }
        assert_eq!(phases, [Phase::Distribute, Phase::Sign, Phase::Retire, Phase::Before]);
        let old_key = serde_json::to_string(&old_key).unwrap();
        assert!(!body().contains(old_key.trim_matches('"')));
        assert_eq!(create(&path, 3).unwrap().certificate_der(), held.signing().certificate_der());
    }

    #[test]
    fn the_root_of_another_trust_domain_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        create(&path, 1).unwrap();
        let store = RootStore::open(&path).unwrap();
        let west = "west.example".parse().unwrap();
        assert!(matches!(store.load(&west), Err(RootError::OtherTrustDomain { .. })));
        assert!(store.load_or_create(&west, HOUR, now(), serial(2)).is_err());
    }

    #[test]
    fn a_root_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root");
        create(&path, 1).unwrap();
        fs::set_permissions(path.join("root"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(create(&path, 1), Err(RootError::File(SealedError::TooOpen { .. }))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(create(&path, 1), Err(RootError::File(SealedError::TooOpen { .. }))));
    }
}
