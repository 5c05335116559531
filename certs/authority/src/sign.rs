//! Signs a leaf: one identity, one key, one validity. Time and the serial number are arguments.

use std::time::{Duration, SystemTime};

use mesh::Identity;
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};

pub use crate::serial::Serial;
use crate::{certificate::set_validity, csr::PublicKey, root::Root};

/// No leaf lives longer, whatever is configured.
pub const LIFETIME_MOST: Duration = Duration::from_secs(24 * 3600);
/// A root with less than this left signs nothing: what it signed would end before it could be used.
pub const ROOT_REMAINING_LEAST: Duration = Duration::from_secs(60);

/// How long leaves live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Where the request does not say, and at most. Never more than [`LIFETIME_MOST`].
    pub lifetime_max: Duration,
    /// How much a leaf begins before now, for clocks that are behind.
    pub skew: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { lifetime_max: LIFETIME_MOST, skew: Duration::from_secs(120) }
    }
}

/// A signed leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate_der: Vec<u8>,
    /// The same as PEM.
    pub certificate_pem: String,
    /// When it begins.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// Its serial number.
    pub serial: Serial,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The root is not valid now, or ends too soon.
    #[error("the root of {0} is not valid now, or about to end")]
    RootEnded(mesh::TrustDomain),
    /// The root cannot sign for this trust domain.
    #[error("the root of {root} does not sign {identity}")]
    OtherTrustDomain {
        /// Whose root.
        root: mesh::TrustDomain,
        /// What should have been signed.
        identity: Identity,
    },
    /// The certificate could not be made.
    #[error("the certificate of {0} could not be made")]
    Making(Identity, #[source] rcgen::Error),
    /// Now is a time that certificates cannot say.
    #[error("the clock is out of range")]
    Clock,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// Whose certificate it is.
    pub identity: &'a Identity,
    /// For which key.
    pub key: &'a PublicKey,
    /// How long it was asked to live, if it was.
    pub lifetime: Option<Duration>,
    /// It begins no earlier, for what began earlier was revoked.
    pub earliest: Option<SystemTime>,
}

/// Signs a leaf.
///
/// # Errors
/// When the root cannot or must not sign it.
pub fn leaf(
    config: &Config,
    root: &Root,
    wanted: &Leaf<'_>,
    now: SystemTime,
    serial: Serial,
) -> Result<Issued, SignError> {
    let identity = wanted.identity;
    if identity.trust_domain() != root.trust_domain() {
        let root = root.trust_domain().clone();
        return Err(SignError::OtherTrustDomain { root, identity: identity.clone() });
    }
    let ended = || SignError::RootEnded(root.trust_domain().clone());
    if now < root.not_before()
        || now.checked_add(ROOT_REMAINING_LEAST).ok_or(SignError::Clock)? > root.not_after()
    {
        return Err(ended());
    }
    let longest = config.lifetime_max.min(LIFETIME_MOST);
    let lifetime = wanted.lifetime.unwrap_or(longest).min(longest);
    let earliest = wanted.earliest.map_or(root.not_before(), |earliest| earliest.max(root.not_before()));
    let not_before = now.checked_sub(config.skew).unwrap_or(now).max(earliest).min(now);
    let not_after = now.checked_add(lifetime).ok_or(SignError::Clock)?.min(root.not_after());

    let making = |cause| SignError::Making(identity.clone(), cause);
    let mut params = CertificateParams::default();
    let (not_before, not_after) = set_validity(&mut params, not_before, not_after).ok_or(SignError::Clock)?;
    params.serial_number = Some(serial.number());
    // An empty subject makes the name below critical (RFC 5280, section 4.1.2.6).
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().map_err(making)?)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(wanted.key, root.issuer()).map_err(making)?;
    Ok(Issued {
        certificate_der: certificate.der().to_vec(),
        certificate_pem: certificate.pem(),
        not_before,
        not_after,
        serial,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::KeyPair;
    use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

    use super::*;
    use crate::csr;

    const HOUR: Duration = Duration::from_secs(3600);
    const SERIAL: Serial = Serial::from_random([0x41; 16]);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn root() -> Root {
        Root::generate(&"east".parse().unwrap(), 48 * HOUR, at(0), SERIAL).unwrap()
    }

    fn key() -> PublicKey {
        let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
        csr::parse_der(request.der()).unwrap().public_key
    }

    fn sign(asked: Option<Duration>, now: SystemTime) -> Result<Issued, SignError> {
        sign_from(None, asked, now)
    }

    fn sign_from(
        earliest: Option<SystemTime>,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<Issued, SignError> {
        let identity = "spiffe://east/ns/a/sa/b".parse().unwrap();
        let wanted = Leaf { identity: &identity, key: &key(), lifetime, earliest };
        leaf(&Config::default(), &root(), &wanted, now, SERIAL)
    }

    #[test]
    fn a_leaf_begins_no_earlier_than_its_revocation_and_no_later_than_now() {
        let skew = Config::default().skew;
        // (revoked before, begins)
        let cases = [
            (at(1000) - skew - Duration::from_secs(1), at(1000) - skew),
            (at(990), at(990)),
            (at(1000), at(1000)),
            (at(1001), at(1000)),
        ];
        for (earliest, begins) in cases {
            assert_eq!(sign_from(Some(earliest), None, at(1000)).unwrap().not_before, begins, "{earliest:?}");
        }
    }

    #[test]
    fn a_leaf_says_who_and_no_more() {
        let issued = sign(Some(HOUR), at(1000)).unwrap();
        let (rest, leaf) =
            x509_parser::certificate::X509Certificate::from_der(&issued.certificate_der).unwrap();
        assert!(rest.is_empty());
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert!(names.critical);
        assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://east/ns/a/sa/b")]);
        assert_eq!(leaf.subject().iter().count(), 0);
        assert!(!leaf.is_ca());
        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.value.digital_signature() && !usage.value.key_cert_sign() && !usage.value.crl_sign());
        let purposes = leaf.extended_key_usage().unwrap().unwrap();
        assert!(purposes.value.server_auth && purposes.value.client_auth && !purposes.value.any);
        assert_eq!(leaf.raw_serial(), &[0x41; 16]);
        let root = root();
        let (_, issuer) =
            x509_parser::certificate::X509Certificate::from_der(root.certificate_der()).unwrap();
        assert!(leaf.verify_signature(Some(issuer.public_key())).is_err(), "another root did not sign it");
    }

    #[test]
    fn the_validity_is_capped_on_every_side() {
        let skew = Config::default().skew;
        let early = root().not_before() + Duration::from_secs(60);
        // (asked, now, begins, ends)
        let cases = [
            (None, at(1000), at(1000) - skew, at(1000) + 24 * HOUR),
            (Some(HOUR), at(1000), at(1000) - skew, at(1000) + HOUR),
            (Some(24 * HOUR), at(1000), at(1000) - skew, at(1000) + 24 * HOUR),
            (Some(25 * HOUR), at(1000), at(1000) - skew, at(1000) + 24 * HOUR),
            (Some(Duration::MAX), at(1000), at(1000) - skew, at(1000) + 24 * HOUR),
            // The root began less than the skew ago, or ends before the leaf would.
            (Some(HOUR), early, root().not_before(), early + HOUR),
            (None, at(40 * 3600), at(40 * 3600) - skew, root().not_after()),
        ];
        for (asked, now, begins, ends) in cases {
            let issued = sign(asked, now).unwrap();
            assert_eq!((issued.not_before, issued.not_after), (begins, ends), "{asked:?} at {now:?}");
        }
    }

    #[test]
    fn a_root_that_is_not_valid_signs_nothing() {
        let root = root();
        let last = root.not_after() - ROOT_REMAINING_LEAST;
        assert!(sign(None, last).is_ok());
        assert!(matches!(sign(None, last + Duration::from_secs(1)), Err(SignError::RootEnded(_))));
        assert!(sign(None, root.not_before()).is_ok());
        assert!(matches!(
            sign(None, root.not_before() - Duration::from_secs(1)),
            Err(SignError::RootEnded(_))
        ));
    }

    #[test]
    fn a_root_signs_its_own_trust_domain_only() {
        let west = "spiffe://west/ns/a/sa/b".parse().unwrap();
        let wanted = Leaf { identity: &west, key: &key(), lifetime: None, earliest: None };
        let signed = leaf(&Config::default(), &root(), &wanted, at(1000), SERIAL);
        assert!(matches!(signed, Err(SignError::OtherTrustDomain { .. })));
    }
}
