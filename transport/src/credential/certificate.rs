//! Reads a certificate: who it names, how long it lasts, and whether it is fit to prove a workload.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use mesh::Identity;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

use super::peer::{PeerError, VerifiedPeer};

/// Reads a leaf by the rules of the X509-SVID standard (sections 2, 4 and 5.2), but checks no signature.
pub(crate) fn read_leaf(der: &[u8]) -> Result<VerifiedPeer, PeerError> {
    let certificate = parse(der)?;
    let identity = identity(&certificate)?;
    let forbid = |cause: &str| PeerError::Usage { identity: identity.clone(), cause: cause.to_owned() };
    if certificate.basic_constraints().map_err(malformed)?.is_some_and(|found| found.value.ca) {
        return Err(forbid("it is a CA"));
    }
    if let Some(usage) = certificate.key_usage().map_err(malformed)? {
        if usage.value.key_cert_sign() || usage.value.crl_sign() {
            return Err(forbid("its key may sign certificates"));
        }
        if !usage.value.digital_signature() {
            return Err(forbid("its key may not sign"));
        }
    }
    if let Some(usage) = certificate.extended_key_usage().map_err(malformed)?
        && !(usage.value.any || (usage.value.client_auth && usage.value.server_auth))
    {
        return Err(forbid("its key is not for both TLS clients and servers"));
    }
    Ok(VerifiedPeer {
        not_before: moment(certificate.validity().not_before)?,
        not_after: moment(certificate.validity().not_after)?,
        serial: hexadecimal(certificate.raw_serial()),
        identity,
    })
}

/// The period in which a root may be used.
pub(crate) fn read_validity(der: &[u8]) -> Result<(SystemTime, SystemTime), PeerError> {
    let certificate = parse(der)?;
    Ok((moment(certificate.validity().not_before)?, moment(certificate.validity().not_after)?))
}

/// The public key of a certificate, as it stands in it (SubjectPublicKeyInfo, DER).
pub(crate) fn read_public_key(der: &[u8]) -> Result<Vec<u8>, PeerError> {
    Ok(parse(der)?.public_key().raw.to_vec())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PeerError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(PeerError::Malformed("bytes follow the certificate".to_owned())),
        Err(error) => Err(malformed(error)),
    }
}

fn malformed(cause: impl ToString) -> PeerError {
    PeerError::Malformed(cause.to_string())
}

fn identity(certificate: &X509Certificate<'_>) -> Result<Identity, PeerError> {
    let names = certificate.subject_alternative_name().map_err(malformed)?;
    let names = names.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.count()) {
        (Some(only), 0) => only.parse().map_err(PeerError::Identity),
        (None, _) => Err(PeerError::UriNames(0)),
        (Some(_), more) => Err(PeerError::UriNames(1 + more)),
    }
}

fn moment(time: ASN1Time) -> Result<SystemTime, PeerError> {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moment = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    moment.ok_or_else(|| PeerError::Malformed("a time that this system cannot represent".to_owned()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
