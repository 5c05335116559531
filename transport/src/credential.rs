//! What a workload proves itself with, and what it holds others against.
//!
//! A [`Credential`] is one identity's certificate and key together with the bundles of every trust domain that is
//! known; its TLS configurations are built once, when it is made. Nothing here fetches or renews: that is behind
//! [`Credentials`].

mod certificate;
mod configure;
pub(crate) mod handshake;
mod provider;
pub(crate) mod verify;

use std::{collections::BTreeMap, collections::BTreeSet, fmt, sync::Arc, time::SystemTime};

use mesh::{Identity, TrustDomain, identity::IdentityError};
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

pub use certificate::VerifiedPeer;
pub use verify::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};

pub(crate) use certificate::read_public_key;
pub(crate) use configure::{ALPN_H2, ALPN_HTTP1, Clients};
use verify::{Roots, Verifier};
pub(crate) use {configure::client as client_config, configure::server as server_config};

/// The root certificates (DER) of each trust domain. A root signs for its own trust domain only.
pub type Bundles = BTreeMap<TrustDomain, Vec<Vec<u8>>>;

/// What a [`Credential`] is made of.
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

/// Why parts make no [`Credential`].
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

/// Whom the other end may be. Empty means nobody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expected(Arc<BTreeSet<Identity>>);

/// The other end proved an identity, but not one of those expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer is {found}, expected was {expected}")]
pub struct WrongPeer {
    /// Who it is.
    pub found: Identity,
    /// Who it should have been.
    pub expected: Expected,
}

/// Why a peer's certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It sent none.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// More or larger certificates than anyone needs.
    #[error("the peer's chain has {certificates} certificates and {bytes} bytes, more than is accepted")]
    ChainTooLarge {
        /// How many.
        certificates: usize,
        /// How large together.
        bytes: usize,
    },
    /// Not X.509.
    #[error("the peer's certificate cannot be read: {0}")]
    Malformed(String),
    /// None, or more than one URI.
    #[error("a peer has exactly one URI name, this one has {0}")]
    UriNames(usize),
    /// The URI is no SPIFFE identity.
    #[error("the peer's URI name is no identity")]
    Identity(#[source] IdentityError),
    /// Its trust domain is not known here.
    #[error("no trust bundle of {0} is held")]
    NoBundle(TrustDomain),
    /// The certificate may sign others, or must not be used for TLS.
    #[error("the certificate of {identity} is not for this use: {cause}")]
    Usage {
        /// Whose.
        identity: Identity,
        /// What forbids it.
        cause: String,
    },
    /// Too old.
    #[error("the certificate of {0} ended")]
    Expired(Identity),
    /// Too new.
    #[error("the certificate of {0} does not begin yet")]
    NotYetValid(Identity),
    /// It does not lead to a root of its own trust domain.
    #[error("the certificate of {identity} is not signed by a root of its trust domain: {cause}")]
    Chain {
        /// Whose.
        identity: Identity,
        /// What the check said.
        cause: String,
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

impl Expected {
    /// Exactly these.
    pub fn new(identities: impl IntoIterator<Item = Identity>) -> Self {
        Self(Arc::new(identities.into_iter().collect()))
    }

    /// The identities.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.0.iter()
    }

    /// Passes a peer that is one of these.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, peer: &VerifiedPeer) -> Result<(), WrongPeer> {
        if self.0.contains(&peer.identity) {
            return Ok(());
        }
        Err(WrongPeer { found: peer.identity.clone(), expected: self.clone() })
    }
}

impl From<Identity> for Expected {
    fn from(identity: Identity) -> Self {
        Self::new([identity])
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, identity) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(" or ")?;
            }
            write!(out, "{identity}")?;
        }
        if self.0.is_empty() {
            out.write_str("nobody")?;
        }
        Ok(())
    }
}
