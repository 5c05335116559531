//! The root: a self-signed P-256 authority of one trust domain, with its key.
//!
//! *Guarantees*: the key leaves neither this process nor the 0600 file that `store` keeps.

mod held;
mod store;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use mesh::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use runtime::sealed::SealedError;
use rustls_pki_types::CertificateDer;

pub use self::{held::Held, store::RootStore};

use crate::{
    certificate::{RootFault, check_root, set_validity},
    serial::Serial,
};

/// How long a new root lives, unless told otherwise.
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// A root begins this much before it is made, for clocks that are behind.
const SKEW: Duration = Duration::from_secs(3600);

/// A root with its key.
pub struct Root {
    trust_domain: TrustDomain,
    certificate_der: Vec<u8>,
    certificate_pem: String,
    not_before: SystemTime,
    not_after: SystemTime,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Root {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Root").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The root could not be made.
    #[error("a root for {0} could not be made")]
    Making(TrustDomain, #[source] rcgen::Error),
    /// Now is a time that certificates cannot say.
    #[error("the clock is out of range")]
    Clock,
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] SealedError),
    /// The file holds something else than a root.
    #[error(
        "{path} holds no usable root ({cause}); restore it from a backup. A new root is never made in its place"
    )]
    Content {
        /// Which file.
        path: String,
        /// What is wrong.
        cause: String,
    },
    /// The file holds the root of another trust domain.
    #[error("{path} holds the root of {found}, this is {expected}")]
    OtherTrustDomain {
        /// Which file.
        path: String,
        /// Whose root it is.
        found: String,
        /// Whose it should be.
        expected: TrustDomain,
    },
}

impl Root {
    /// Makes a new root with a new key.
    ///
    /// # Errors
    /// When the clock is out of range, or keys cannot be made.
    pub fn generate(
        trust_domain: &TrustDomain,
        lifetime: Duration,
        now: SystemTime,
        serial: Serial,
    ) -> Result<Self, RootError> {
        let making = |cause| RootError::Making(trust_domain.clone(), cause);
        let mut params = CertificateParams::default();
        let begins = now.checked_sub(SKEW).ok_or(RootError::Clock)?;
        let ends = now.checked_add(lifetime).ok_or(RootError::Clock)?;
        set_validity(&mut params, begins, ends).ok_or(RootError::Clock)?;
        params.serial_number = Some(serial.number());
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Strait");
        // Told apart from the root before and after it.
        name.push(DnType::CommonName, format!("root {}", &serial.text()[..8]));
        params.distinguished_name = name;
        let uri = format!("spiffe://{trust_domain}").try_into().map_err(making)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(making)?;
        let certificate = params.self_signed(&key).map_err(making)?;
        Self::from_parts(trust_domain, certificate.der().to_vec(), key)
            .map_err(|cause| RootError::Content { path: "a new root".to_owned(), cause: cause.to_string() })
    }

    fn from_parts(
        trust_domain: &TrustDomain,
        certificate_der: Vec<u8>,
        key: KeyPair,
    ) -> Result<Self, PartsError> {
        let facts = check_root(&certificate_der, trust_domain)?;
        if !facts.names_trust_domain {
            return Err(PartsError::NoTrustDomain);
        }
        if facts.spki_der != key.subject_public_key_info() {
            return Err(PartsError::OtherKey);
        }
        let certificate = CertificateDer::from(certificate_der.as_slice());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|_| RootFault::Malformed)?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            certificate_pem: certificate_pem(&certificate_der),
            certificate_der,
            not_before: facts.not_before,
            not_after: facts.not_after,
            issuer,
        })
    }

    /// Whose root it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Its certificate.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate_der
    }

    /// Its certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// When it begins.
    pub fn not_before(&self) -> SystemTime {
        self.not_before
    }

    /// When it ends.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

#[derive(Debug, thiserror::Error)]
enum PartsError {
    #[error(transparent)]
    Fault(#[from] RootFault),
    #[error("it names no trust domain")]
    NoTrustDomain,
    #[error("its key is not the one of its certificate")]
    OtherKey,
}

/// A certificate as PEM.
pub fn certificate_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_shows_no_key() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let trust_domain = "east.example".parse().unwrap();
        let serial = Serial::from_random([1; 16]);
        let root = Root::generate(&trust_domain, Duration::from_secs(3600), now, serial).unwrap();
        assert_eq!(format!("{root:?}"), "Root { trust_domain: east.example, .. }");
    }
}
