//! Makes a key and the request to certify it.

use std::fmt;

use mesh::Identity;
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use zeroize::Zeroizing;

/// A request: what is sent, and the key that stays.
pub struct CertificateRequest {
    identity: Identity,
    csr_pem: String,
    spki_der: Vec<u8>,
    key_pkcs8_der: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for CertificateRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CertificateRequest").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
#[error("a request for {identity} could not be made")]
pub struct RequestError {
    identity: Identity,
    #[source]
    cause: rcgen::Error,
}

impl CertificateRequest {
    /// Makes a new P-256 key and a request with the identity as its only name.
    ///
    /// # Errors
    /// When keys cannot be made.
    pub fn new(identity: &Identity) -> Result<Self, RequestError> {
        let failed = |cause| RequestError { identity: identity.clone(), cause };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.to_string().try_into().map_err(failed)?)];
        let request = params.serialize_request(&key).map_err(failed)?;
        Ok(Self {
            identity: identity.clone(),
            csr_pem: request.pem().map_err(failed)?,
            spki_der: key.subject_public_key_info(),
            key_pkcs8_der: Zeroizing::new(key.serialize_der()),
        })
    }

    /// Who it is for.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is sent.
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    pub(crate) fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    pub(crate) fn into_key(self) -> Zeroizing<Vec<u8>> {
        self.key_pkcs8_der
    }
}
