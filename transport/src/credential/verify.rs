//! Proves a peer: its chain leads to a root of its own trust domain.
//!
//! No root is ever asked about a leaf of another trust domain, so no authority can sign for another. Whether the
//! peer is one of those expected is a step of its own, after the handshake.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::TrustDomain;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{
    certificate::{read_leaf, read_validity},
    parts::{BuildError, Bundles},
    peer::{PeerError, VerifiedPeer},
    provider::provider,
};

/// Certificates that a peer may send: a leaf and intermediates of a deep hierarchy, in the middle of a rotation.
pub const CHAIN_CERTIFICATES_MAX: usize = 8;
/// Bytes that they may have together.
pub const CHAIN_BYTES_MAX: usize = 32 * 1024;

/// In which role the peer shows its certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Role {
    Client,
    Server,
}

#[derive(Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    not_before: SystemTime,
    not_after: SystemTime,
}

/// The roots of all trust domains, read once.
#[derive(Debug)]
pub(crate) struct Roots(BTreeMap<TrustDomain, Vec<Root>>);

impl Roots {
    pub(crate) fn new(bundles: &Bundles) -> Result<Self, BuildError> {
        let mut read = BTreeMap::new();
        for (trust_domain, roots) in bundles {
            let roots: Result<Vec<_>, _> = roots.iter().map(|der| Root::new(trust_domain, der)).collect();
            read.insert(trust_domain.clone(), roots?);
        }
        Ok(Self(read))
    }

    /// Proves the leaf of a chain.
    pub(crate) fn prove(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        role: Role,
    ) -> Result<VerifiedPeer, PeerError> {
        let certificates = 1 + intermediates.len();
        let bytes = leaf.len() + intermediates.iter().map(|der| der.len()).sum::<usize>();
        if certificates > CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(PeerError::ChainTooLarge { certificates, bytes });
        }
        let peer = read_leaf(leaf)?;
        let trust_domain = peer.identity.trust_domain();
        let roots = self.0.get(trust_domain).ok_or_else(|| PeerError::NoBundle(trust_domain.clone()))?;
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        if moment < peer.not_before {
            return Err(PeerError::NotYetValid(peer.identity));
        }
        if moment >= peer.not_after {
            return Err(PeerError::Expired(peer.identity));
        }
        let valid: Vec<TrustAnchor<'_>> = roots
            .iter()
            .filter(|root| root.not_before <= moment && moment < root.not_after)
            .map(|root| root.anchor.clone())
            .collect();
        let usage = match role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        let chain = EndEntityCert::try_from(leaf).and_then(|leaf| {
            let algorithms = provider().signature_verification_algorithms.all;
            leaf.verify_for_usage(algorithms, &valid, intermediates, now, usage, None, None).map(drop)
        });
        match chain {
            Ok(()) => Ok(peer),
            Err(cause) => Err(PeerError::Chain { identity: peer.identity, cause: cause.to_string() }),
        }
    }
}

impl Root {
    fn new(trust_domain: &TrustDomain, der: &[u8]) -> Result<Self, BuildError> {
        let unreadable = |cause: String| BuildError::Root { trust_domain: trust_domain.clone(), cause };
        let (not_before, not_after) = read_validity(der).map_err(|error| unreadable(error.to_string()))?;
        let anchor = anchor_from_trusted_cert(&CertificateDer::from(der))
            .map_err(|error| unreadable(error.to_string()))?
            .to_owned();
        Ok(Self { anchor, not_before, not_after })
    }
}

/// Holds what rustls asks against [`Roots`].
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) roots: Arc<Roots>,
    /// Whether a client may show no certificate at all.
    pub(crate) anonymous: bool,
}

pub(crate) fn to_rustls(error: PeerError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.roots.prove(leaf, intermediates, now, Role::Server).map_err(to_rustls)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Tells whether a certificate (DER) is the pinned root.
type IsPinned = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Believes a server of one trust domain by the key of a root that it sends along.
pub(crate) struct PinnedVerifier {
    trust_domain: TrustDomain,
    is_pinned: IsPinned,
}

impl PinnedVerifier {
    pub(crate) fn new(trust_domain: TrustDomain, is_pinned: IsPinned) -> Self {
        Self { trust_domain, is_pinned }
    }
}

impl fmt::Debug for PinnedVerifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PinnedVerifier").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = intermediates.iter().take(CHAIN_CERTIFICATES_MAX).filter(|der| (self.is_pinned)(der));
        let roots: Vec<_> = roots.map(|der| der.to_vec()).collect();
        // Without the pinned root the bundle is empty, and nothing is proven by it.
        let bundles = Bundles::from([(self.trust_domain.clone(), roots)]);
        let unreadable = |error: BuildError| to_rustls(PeerError::Malformed(error.to_string()));
        let roots = Roots::new(&bundles).map_err(unreadable)?;
        roots.prove(leaf, intermediates, now, Role::Server).map_err(to_rustls)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        !self.anonymous
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Clients have one certificate and need no hint; the names of our roots are nobody's business.
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.roots.prove(leaf, intermediates, now, Role::Client).map_err(to_rustls)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
