//! Checks what the authority answered: our key, the identity we asked for, and a chain to a root we believe.

use std::time::SystemTime;

use mesh::Identity;
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use crate::{request::CertificateRequest, schedule::Validity};

/// Largest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Most certificates of an answer, roots included.
pub const CERTIFICATES_MAX: usize = 32;

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Larger than any honest one.
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes or {CERTIFICATES_MAX} certificates")]
    TooLarge,
    /// Not PEM certificates, or fewer than a leaf and a root.
    #[error("the answer is not a certificate and, last, its roots")]
    Malformed,
    /// Of another key.
    #[error("the certificate is not for the key that was sent")]
    OtherKey,
    /// Of somebody else.
    #[error("the certificate is not of {0} alone")]
    OtherIdentity(Identity),
    /// Not signed by a root that is believed, not valid now, or not for TLS.
    #[error("the certificate of {identity} does not hold: {cause}")]
    Chain {
        /// Whose.
        identity: Identity,
        /// What the check said.
        cause: String,
    },
}

/// A certificate that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Leaf first, then intermediates.
    pub(crate) chain_der: Vec<Vec<u8>>,
    /// The roots that the authority named.
    pub(crate) roots_der: Vec<Vec<u8>>,
    pub(crate) validity: Validity,
}

/// Reads the answer to `request`. `believed` are the roots of the identity's trust domain, if any are known already;
/// else those of the answer are believed, because the connection it came by was proven.
pub(crate) fn read(
    chain_pem: &[String],
    request: &CertificateRequest,
    believed: Option<&[Vec<u8>]>,
    now: SystemTime,
) -> Result<Answer, AnswerError> {
    if chain_pem.iter().map(String::len).sum::<usize>() > ANSWER_BYTES_MAX {
        return Err(AnswerError::TooLarge);
    }
    let Some((roots_pem, certificates_pem)) = chain_pem.split_last() else {
        return Err(AnswerError::Malformed);
    };
    let mut chain_der = Vec::new();
    for pem in certificates_pem {
        chain_der.append(&mut certificates(pem)?);
    }
    let roots_der = certificates(roots_pem)?;
    if chain_der.len() + roots_der.len() > CERTIFICATES_MAX {
        return Err(AnswerError::TooLarge);
    }
    let validity = check(&chain_der, request.identity(), believed.unwrap_or(&roots_der), now)?;
    let leaf = chain_der.first().ok_or(AnswerError::Malformed)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| AnswerError::Malformed)?;
    if leaf.public_key().raw != request.spki_der() {
        return Err(AnswerError::OtherKey);
    }
    Ok(Answer { chain_der, roots_der, validity })
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, AnswerError> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|der| der.map(|der| der.to_vec()));
    match read.take(CERTIFICATES_MAX + 1).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) | Err(_) => Err(AnswerError::Malformed),
    }
}

/// Checks a chain, leaf first: it names `identity` alone and leads to one of `roots_der`, now, for both ends of TLS.
pub(crate) fn check(
    chain_der: &[Vec<u8>],
    identity: &Identity,
    roots_der: &[Vec<u8>],
    now: SystemTime,
) -> Result<Validity, AnswerError> {
    let (leaf_der, intermediates) = chain_der.split_first().ok_or(AnswerError::Malformed)?;
    let Ok(([], leaf)) = X509Certificate::from_der(leaf_der) else {
        return Err(AnswerError::Malformed);
    };
    let names = leaf.subject_alternative_name().map_err(|_| AnswerError::Malformed)?;
    match names.as_ref().map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::URI(uri)]) if *uri == identity.to_string() => {}
        _ => return Err(AnswerError::OtherIdentity(identity.clone())),
    }
    let fault =
        |cause: webpki::Error| AnswerError::Chain { identity: identity.clone(), cause: cause.to_string() };
    let der = CertificateDer::from(leaf_der.as_slice());
    let end = EndEntityCert::try_from(&der).map_err(fault)?;
    let roots: Vec<_> = roots_der.iter().map(|root| CertificateDer::from(root.as_slice())).collect();
    let anchors = roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    let intermediates: Vec<_> =
        intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let time = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
    for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
        end.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            time,
            usage,
            None,
            None,
        )
        .map_err(fault)?;
    }
    let moment = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    };
    Ok(Validity { from: moment(leaf.validity().not_before), until: moment(leaf.validity().not_after) })
}
