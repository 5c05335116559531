//! The file of a root: 0600 in a 0700 directory of its own, written once.
//!
//! A file that cannot be read is an error and never a reason to make another root: every certificate in use would
//! stop being believed.

use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use mesh::TrustDomain;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use runtime::sealed::{SealedFile, private_directory};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    root::{Root, RootError},
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

    /// The root that is stored, or `None` if none was ever.
    ///
    /// # Errors
    /// When there is something that is not a whole root of this trust domain.
    pub fn load(&self, trust_domain: &TrustDomain) -> Result<Option<Root>, RootError> {
        let Some(body) = self.file.read()?.map(Zeroizing::new) else {
            return Ok(None);
        };
        let stored: Stored = serde_json::from_slice(&body).map_err(|cause| self.content(cause))?;
        let key = Zeroizing::new(stored.key);
        if stored.trust_domain != trust_domain.as_str() {
            return Err(RootError::OtherTrustDomain {
                path: self.path(),
                found: stored.trust_domain,
                expected: trust_domain.clone(),
            });
        }
        let certificate = CertificateDer::from_pem_slice(stored.certificate.as_bytes());
        let certificate = certificate.map_err(|_| self.content("no certificate"))?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|_| self.content("no key"))?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|_| self.content("its key is not a P-256 key"))?;
        Root::from_parts(trust_domain, certificate.to_vec(), key)
            .map(Some)
            .map_err(|cause| self.content(cause))
    }

    /// The root that is stored; if none was ever, a new one that is stored first.
    ///
    /// # Errors
    /// As [`RootStore::load`], and when the new one cannot be made or stored.
    pub fn load_or_create(
        &self,
        trust_domain: &TrustDomain,
        lifetime: Duration,
        now: SystemTime,
        serial: Serial,
    ) -> Result<Root, RootError> {
        if let Some(root) = self.load(trust_domain)? {
            return Ok(root);
        }
        let root = Root::generate(trust_domain, lifetime, now, serial)?;
        let key = Zeroizing::new(root.issuer.key().serialize_pem());
        let stored = Stored {
            trust_domain: trust_domain.to_string(),
            certificate: root.certificate_pem.clone(),
            key: key.to_string(),
        };
        let body = Zeroizing::new(serde_json::to_vec(&stored).map_err(|cause| self.content(cause))?);
        drop(Zeroizing::new(stored.key));
        if self.file.create(&body)? {
            return Ok(root);
        }
        // Another process was faster: its root is the root.
        self.load(trust_domain)?.ok_or_else(|| self.content("it came and went"))
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

    fn create(directory: &Path, byte: u8) -> Result<Root, RootError> {
        RootStore::open(directory)?.load_or_create(&east(), HOUR, now(), serial(byte))
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
