//! Reads a root certificate and says what it is, or why it is no root of its trust domain.

use std::time::{Duration, SystemTime};

use mesh::TrustDomain;
use rcgen::CertificateParams;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{ASN1Time, FromDer as _},
};

/// Longest certificate that is read, in bytes.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// The first second of the year 10000, which certificates cannot say.
const YEAR_10000_SECONDS: u64 = 253_402_300_800;

/// Why a certificate is no root of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootFault {
    /// Not one whole X.509 certificate.
    #[error("it is not a certificate")]
    Malformed,
    /// It may not sign others.
    #[error("it is not a certificate authority")]
    NotAuthority,
    /// It names another trust domain than the one it is offered for, or something that is no trust domain.
    #[error("it names {found:?} and not spiffe://{expected}")]
    OtherTrustDomain {
        /// What it names.
        found: String,
        /// Whose root it should be.
        expected: TrustDomain,
    },
}

/// What a root certificate says.
pub(crate) struct RootFacts {
    pub(crate) spki_der: Vec<u8>,
    pub(crate) names_trust_domain: bool,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

/// Reads one whole certificate.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, RootFault> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(RootFault::Malformed);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(RootFault::Malformed),
    }
}

/// Checks that a certificate can be a root of `trust_domain`. One that names no trust domain is taken, as roots of
/// other authorities often do not; one that names another is not.
pub(crate) fn check_root(der: &[u8], trust_domain: &TrustDomain) -> Result<RootFacts, RootFault> {
    let certificate = parse(der)?;
    let may_sign = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_) => return Err(RootFault::Malformed),
    };
    if !certificate.is_ca() || !may_sign {
        return Err(RootFault::NotAuthority);
    }
    let names = certificate.subject_alternative_name().map_err(|_| RootFault::Malformed)?;
    let mut names_trust_domain = false;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        if let GeneralName::URI(uri) = name {
            if uri.strip_prefix("spiffe://") != Some(trust_domain.as_str()) {
                return Err(RootFault::OtherTrustDomain {
                    found: (*uri).to_owned(),
                    expected: trust_domain.clone(),
                });
            }
            names_trust_domain = true;
        }
    }
    Ok(RootFacts {
        spki_der: certificate.public_key().raw.to_vec(),
        names_trust_domain,
        not_before: system_time(certificate.validity().not_before),
        not_after: system_time(certificate.validity().not_after),
    })
}

fn system_time(time: ASN1Time) -> SystemTime {
    // What begins before 1970 began at 1970, as far as anything here is concerned.
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// Writes a validity in whole seconds. `None` if a certificate cannot say it.
#[must_use]
pub(crate) fn set_validity(
    params: &mut CertificateParams,
    not_before: SystemTime,
    not_after: SystemTime,
) -> Option<(SystemTime, SystemTime)> {
    let seconds = |time: SystemTime| {
        let seconds = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        (seconds < YEAR_10000_SECONDS).then(|| Duration::from_secs(seconds))
    };
    let (from, to) = (seconds(not_before)?, seconds(not_after)?);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + from;
    params.not_after = epoch + to;
    Some((SystemTime::UNIX_EPOCH + from, SystemTime::UNIX_EPOCH + to))
}
