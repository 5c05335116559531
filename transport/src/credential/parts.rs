//! What a credential is made of, and why parts make none.

use std::{collections::BTreeMap, sync::Arc};

use mesh::{Identity, TrustDomain};

use super::peer::PeerError;

/// The root certificates (DER) of each trust domain. A root signs for its own trust domain only.
pub type Bundles = BTreeMap<TrustDomain, Vec<Vec<u8>>>;

/// What a [`Credential`](super::Credential) is made of.
pub struct CredentialParts {
    /// The identity that the certificate must carry.
    pub identity: Identity,
    /// The certificate and its intermediates, leaf first, each DER. No root.
    pub chain_der: Vec<Vec<u8>>,
    /// The private key, PKCS #8 DER.
    pub key_pkcs8_der: Vec<u8>,
    /// Whom to believe.
    pub bundles: Arc<Bundles>,
}

/// Why parts make no [`Credential`](super::Credential).
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no certificate.
    #[error("the chain of {0} is empty")]
    Empty(Identity),
    /// The leaf cannot be read, or is no SPIFFE certificate.
    #[error("the certificate of {identity} is unusable")]
    Leaf {
        /// For whom it was meant.
        identity: Identity,
        /// What is wrong with it.
        #[source]
        cause: PeerError,
    },
    /// The leaf speaks for somebody else.
    #[error("the certificate is of {found}, not of {identity}")]
    OtherIdentity {
        /// For whom it was meant.
        identity: Identity,
        /// Whom it names.
        found: Identity,
    },
    /// The key does not fit, or cannot be used.
    #[error("the key of {identity} cannot be used: {cause}")]
    Key {
        /// Whose key.
        identity: Identity,
        /// Why.
        cause: String,
    },
    /// A root of a bundle cannot be read.
    #[error("a root of {trust_domain} cannot be read: {cause}")]
    Root {
        /// Whose root.
        trust_domain: TrustDomain,
        /// Why.
        cause: String,
    },
}
