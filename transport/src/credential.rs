//! What a workload proves itself with, and what it holds others against.
//!
//! A [`Credential`] is one identity's certificate and key together with the bundles of every trust domain that is
//! known; its TLS configurations are built once, when it is made. Nothing here fetches or renews: that is behind
//! [`Credentials`].

mod certificate;
mod configure;
mod expected;
pub(crate) mod handshake;
mod parts;
mod peer;
pub(crate) mod provider;
pub(crate) mod verify;

use std::{fmt, sync::Arc, time::SystemTime};

use mesh::Identity;
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

pub use expected::{Expected, WrongPeer};
pub use parts::{BuildError, Bundles, CredentialParts};
pub use peer::{PeerError, VerifiedPeer};
pub use verify::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};

pub(crate) use certificate::{read_public_key, read_validity};
pub(crate) use configure::{ALPN_H2, ALPN_HTTP1, Clients};
use verify::{Roots, Verifier};
pub(crate) use {configure::client as client_config, configure::server as server_config};

/// One identity's certificate and key, ready for handshakes in both roles.
pub struct Credential {
    own: VerifiedPeer,
    bundles: Arc<Bundles>,
    pub(crate) roots: Arc<Roots>,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

/// Where certificates come from.
pub trait Credentials: Send + Sync + 'static {
    /// The credential to use now for this identity.
    ///
    /// # Errors
    /// When there is none that is valid: then nothing may be dialled or served in its name.
    fn current(&self, identity: &Identity) -> Result<Arc<Credential>, CredentialError>;
}

/// Why there is no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Nobody asked for this identity here.
    #[error("{0} is not an identity of this proxy")]
    Unknown(Identity),
    /// It was asked for and did not come yet.
    #[error("no certificate of {0} was issued yet")]
    Pending(Identity),
    /// The last one ended.
    #[error("the certificate of {identity} ended")]
    Expired {
        /// Whose.
        identity: Identity,
        /// When.
        ended: SystemTime,
    },
}

impl Credential {
    /// Reads and checks the parts, and builds the TLS configurations.
    ///
    /// # Errors
    /// When the certificate is not one of this identity, the key does not fit, or a root cannot be read.
    pub fn new(parts: CredentialParts) -> Result<Self, BuildError> {
        let CredentialParts { identity, chain_der, key_pkcs8_der, bundles } = parts;
        let leaf = chain_der.first().ok_or_else(|| BuildError::Empty(identity.clone()))?;
        let own = match certificate::read_leaf(leaf) {
            Ok(own) if own.identity == identity => own,
            Ok(own) => return Err(BuildError::OtherIdentity { identity, found: own.identity }),
            Err(cause) => return Err(BuildError::Leaf { identity, cause }),
        };
        let unusable =
            |cause: rustls::Error| BuildError::Key { identity: identity.clone(), cause: cause.to_string() };
        let chain = chain_der.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key_pkcs8_der));
        let key = provider::provider().key_provider.load_private_key(key).map_err(unusable)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(unusable)?;
        let key = Arc::new(key);
        let roots = Arc::new(Roots::new(&bundles)?);
        let client = configure::client(
            Arc::new(Verifier { roots: roots.clone(), anonymous: false }),
            Some(key.clone()),
            &[ALPN_H2],
        );
        let server = configure::server(configure::Clients::Required(roots.clone()), key.clone(), &[ALPN_H2]);
        Ok(Self { own, bundles, roots, key, client: Arc::new(client), server: Arc::new(server) })
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.own.identity
    }

    /// What its own certificate says: the same that peers read from it.
    pub fn own(&self) -> &VerifiedPeer {
        &self.own
    }

    /// Whom it believes.
    pub fn bundles(&self) -> &Arc<Bundles> {
        &self.bundles
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credential").field("own", &self.own).finish_non_exhaustive()
    }
}
