//! A web server's certificate and key, as they stand in a Secret: read, checked, and asked for which names it serves.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::credential::{provider::for_strangers, read_validity};

/// Longest chain or key, in bytes of PEM.
pub const PEM_BYTES_MAX: usize = 256 * 1024;
/// Most certificates of a chain.
pub const CHAIN_MAX: usize = 10;
/// Most names of a certificate that are looked at.
pub const NAMES_MAX: usize = 1024;

/// A server's certificate with its key. Its key is never shown.
#[derive(Clone)]
pub struct ServerCertificate {
    pub(super) key: Arc<CertifiedKey>,
    names: Arc<[String]>,
    ends: SystemTime,
}

/// Why texts are no certificate and key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain is no PEM, or holds no certificate.
    #[error("the certificate cannot be read: {0}")]
    Chain(String),
    /// The key is no PEM, or of a kind that is not known.
    #[error("the private key cannot be read: {0}")]
    Key(String),
    /// They are not of each other.
    #[error("the private key is not that of the certificate")]
    Mismatch,
    /// A bound was passed.
    #[error("the {what} is longer than {most}")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
}

impl ServerCertificate {
    /// Reads a chain, the leaf first, and its key (PKCS#8, PKCS#1 or SEC1), both PEM.
    ///
    /// # Errors
    /// When one of them cannot be read, or the key is another's.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, CertificateError> {
        for (what, text) in [("certificate", chain), ("private key", key)] {
            if text.len() > PEM_BYTES_MAX {
                return Err(CertificateError::TooLong { what, most: PEM_BYTES_MAX });
            }
        }
        let unread = |error: pem::Error| CertificateError::Chain(error.to_string());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .take(CHAIN_MAX + 1)
            .collect::<Result<_, _>>()
            .map_err(unread)?;
        if chain.len() > CHAIN_MAX {
            return Err(CertificateError::TooLong { what: "chain", most: CHAIN_MAX });
        }
        let leaf = chain.first().ok_or_else(|| CertificateError::Chain("it holds none".to_owned()))?;
        let names = names_of(leaf)?;
        let (_, ends) = read_validity(leaf).map_err(|error| CertificateError::Chain(error.to_string()))?;
        // What the key's parser says could quote the key; it only says of what kind the trouble is.
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| CertificateError::Key("it is no PEM of a private key".to_owned()))?;
        let key = for_strangers()
            .key_provider
            .load_private_key(key)
            .map_err(|_| CertificateError::Key("it is of no kind that is known".to_owned()))?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|_| CertificateError::Mismatch)?;
        Ok(Self { key: Arc::new(key), names: names.into(), ends })
    }

    /// True if the certificate is for this name (RFC 9525: a wildcard stands for exactly one label).
    pub fn serves(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.names.iter().any(|of| match of.strip_prefix("*.") {
            None => *of == name,
            Some(parent) => {
                name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
            }
        })
    }

    /// When it ends.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

fn names_of(leaf: &CertificateDer<'_>) -> Result<Vec<String>, CertificateError> {
    let unread = |error: &dyn fmt::Display| CertificateError::Chain(error.to_string());
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| unread(&error))?;
    let names = certificate.subject_alternative_name().map_err(|error| unread(&error))?;
    let names = names.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    let hosts = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok(hosts.take(NAMES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn a_certificate_serves_its_names_and_one_label_under_its_wildcards() {
        let (chain, key) = made(&["shop.example", "*.a.example"]);
        let certificate = ServerCertificate::from_pem(&chain, &key).unwrap();
        for (name, expected) in [
            ("shop.example", true),
            ("SHOP.example", true),
            ("shop.example.", true),
            ("x.shop.example", false),
            ("x.a.example", true),
            ("a.example", false),
            (".a.example", false),
            ("x.y.a.example", false),
            ("*.a.example", true),
            ("", false),
        ] {
            assert_eq!(certificate.serves(name), expected, "{name:?}");
        }
        assert!(!format!("{certificate:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_certificate_and_key_is_refused() {
        let (chain, key) = made(&["a.example"]);
        let (other, _) = made(&["a.example"]);
        let long = "x".repeat(PEM_BYTES_MAX + 1);
        assert!(ServerCertificate::from_pem(&chain, &key).is_ok());
        assert_eq!(ServerCertificate::from_pem(&other, &key).unwrap_err(), CertificateError::Mismatch);
        for (chain, key) in [
            ("", &*key),
            ("nonsense", &key),
            (&key, &key),
            (&chain, ""),
            (&chain, &chain),
            (&chain.repeat(CHAIN_MAX + 1), &key),
            (&long, &key),
            (&chain, &long),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key),
        ] {
            assert!(ServerCertificate::from_pem(chain, key).is_err());
        }
        assert!(ServerCertificate::from_pem(&chain.repeat(CHAIN_MAX), &key).is_ok());
    }
}
