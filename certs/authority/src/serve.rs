//! The certificate service: who asks, for what, may it, sign.
//!
//! Outward a refusal says only that it is one; the reason is in the log and counted. It answers with the leaf and,
//! last, the roots of its own trust domain; those of others travel with the configuration.

use std::{
    fmt,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use mesh::{Identity, TrustDomain};
use parking_lot::{Mutex, RwLock};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use prost_types::value::Kind;
use proto::istio::v1::auth::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{
    csr::{self, CSR_BYTES_MAX, CsrError, PublicKey},
    entitlement::{self, Bearer, Placement, Refusal},
    holders::Holders,
    limits::Limits,
    revocation::Revocations,
    root::{Held, Root, certificate_pem},
    sign::{self, Issued, Leaf, Serial, SignError},
};

pub use crate::limits::Config as LimitsConfig;

/// Longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Largest request, in bytes.
pub const REQUEST_BYTES_MAX: usize = 2 * CSR_BYTES_MAX;
/// The metadata field that names the identity wanted.
pub const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

/// Who the bearer of a token is.
pub trait Callers: Send + Sync + 'static {
    /// Finds out.
    ///
    /// # Errors
    /// When the token is not good, or it cannot be told.
    fn identify(&self, token: &str) -> impl Future<Output = Result<Bearer, CallerError>> + Send;
}

/// Why a bearer is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// The token is nobody's, or no longer good.
    #[error("the token is not good: {0}")]
    Rejected(String),
    /// It cannot be told now.
    #[error("whose token it is cannot be told now: {0}")]
    Unavailable(String),
}

/// How the service behaves.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long leaves live.
    pub sign: sign::Config,
    /// How often a caller may ask.
    pub limits: LimitsConfig,
    /// How many requests are worked on at once; others are told to come back.
    pub requests_at_once_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { sign: sign::Config::default(), limits: LimitsConfig::default(), requests_at_once_max: 64 }
    }
}

/// Where time and chance come from.
#[derive(Clone)]
pub struct Sources {
    /// Now.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Random bytes, from a source fit for secrets.
    pub random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sources")
    }
}

/// The root that signs, and all that are to be believed.
#[derive(Debug)]
pub struct Roots {
    signing: Arc<Root>,
    trusted_pem: String,
    trusted: Vec<Vec<u8>>,
    sequence: u64,
}

impl Roots {
    /// One root that signs and is believed together with `also_trusted` (DER), as a rotation demands.
    pub fn new(signing: impl Into<Arc<Root>>, also_trusted: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let signing = signing.into();
        let mut trusted = vec![signing.certificate_der().to_vec()];
        for root in also_trusted {
            if !trusted.contains(&root) {
                trusted.push(root);
            }
        }
        let trusted_pem = trusted.iter().map(|root| certificate_pem(root)).collect();
        Self { signing, trusted_pem, trusted, sequence: 1 }
    }

    /// The roots as they are held, in any phase of a rotation.
    pub fn of(held: &Held) -> Self {
        Self { sequence: held.sequence(), ..Self::new(held.signing(), held.believed()) }
    }

    /// The sequence of their bundle: it grows with every change.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The root that signs.
    pub fn signing(&self) -> &Root {
        &self.signing
    }

    /// Every root that is to be believed, DER.
    pub fn trusted(&self) -> &[Vec<u8>] {
        &self.trusted
    }

    /// The same as one PEM text: the last element of an answer's chain.
    pub fn trusted_pem(&self) -> &str {
        &self.trusted_pem
    }
}

/// Why a request was answered as it was.
#[derive(Debug, thiserror::Error)]
enum Unissued {
    #[error("no bearer token")]
    NoToken,
    #[error("{0}")]
    Caller(CallerError),
    #[error("too many requests at once")]
    Busy,
    #[error("{0} asks too often")]
    TooOften(Bearer),
    #[error("{0}: its signing request is refused: {1}")]
    Csr(Bearer, CsrError),
    #[error("{0} says no identity, or not clearly: {1}")]
    Unclear(Bearer, &'static str),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Unissued {
    fn label(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Caller(CallerError::Rejected(_)) => "token_rejected",
            Self::Caller(CallerError::Unavailable(_)) => "callers_unavailable",
            Self::Busy => "busy",
            Self::TooOften(_) => "too_often",
            Self::Csr(..) => "bad_request",
            Self::Unclear(..) => "unclear_identity",
            Self::Refused(Refusal::ForeignTrustDomain { .. }) => "foreign_trust_domain",
            Self::Refused(Refusal::NotOnNode { .. }) => "not_on_node",
            Self::Refused(Refusal::NotOwn { .. }) => "not_own",
            Self::Sign(_) => "not_signed",
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::NoToken | Self::Caller(CallerError::Rejected(_)) => {
                Status::unauthenticated("unauthenticated")
            }
            Self::Caller(CallerError::Unavailable(_)) => Status::unavailable("try again"),
            Self::Busy | Self::TooOften(_) => Status::resource_exhausted("try again later"),
            // What is wrong with its own request the caller may know.
            Self::Csr(_, cause) => Status::invalid_argument(cause.to_string()),
            Self::Unclear(_, cause) => Status::invalid_argument(*cause),
            Self::Refused(_) => Status::permission_denied("not entitled"),
            Self::Sign(_) => Status::internal("not signed"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What the service counts.
#[derive(Debug, Clone, Default)]
pub struct AuthorityMetrics {
    requests: Family<ResultLabel, Counter>,
    root_ends: Gauge,
}

impl AuthorityMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "strait_certificate_requests",
            "Certificate requests by result",
            self.requests.clone(),
        );
        registry.register(
            "strait_root_not_after_seconds",
            "When the root that signs ends, in seconds since 1970",
            self.root_ends.clone(),
        );
    }

    fn count(&self, result: &'static str) {
        self.requests.get_or_create(&ResultLabel { result }).inc();
    }
}

/// The authority of one trust domain, as a service.
#[derive(Debug)]
pub struct Authority<C, P> {
    trust_domain: TrustDomain,
    config: Config,
    sources: Sources,
    callers: C,
    placement: P,
    roots: RwLock<Arc<Roots>>,
    limits: Mutex<Limits>,
    revocations: Mutex<Revocations>,
    holders: Mutex<Holders>,
    at_once: Semaphore,
    metrics: AuthorityMetrics,
}

impl<C: Callers, P: Placement> Authority<C, P> {
    /// An authority that signs with `roots` for the trust domain of its root.
    pub fn new(config: Config, sources: Sources, callers: C, placement: P, roots: Roots) -> Self {
        let authority = Self {
            trust_domain: roots.signing.trust_domain().clone(),
            config,
            sources,
            callers,
            placement,
            roots: RwLock::new(Arc::new(roots)),
            limits: Mutex::new(Limits::new(config.limits)),
            revocations: Mutex::default(),
            holders: Mutex::default(),
            at_once: Semaphore::new(config.requests_at_once_max),
            metrics: AuthorityMetrics::default(),
        };
        authority.show_root_end();
        authority
    }

    /// The tonic service. Requests larger than an honest one are refused before they are read.
    pub fn service(self: &Arc<Self>) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::from_arc(Arc::clone(self)).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    /// Its metrics, to be registered.
    pub fn metrics(&self) -> &AuthorityMetrics {
        &self.metrics
    }

    /// The roots now.
    pub fn roots(&self) -> Arc<Roots> {
        Arc::clone(&self.roots.read())
    }

    /// Signs with other roots from now on. They must be of the same trust domain, else every request is refused.
    pub fn set_roots(&self, roots: Roots) {
        let mut holders = self.holders.lock();
        let other = !Arc::ptr_eq(&self.roots().signing, &roots.signing);
        *self.roots.write() = Arc::new(roots);
        if other {
            holders.clear();
        }
        drop(holders);
        self.show_root_end();
    }

    /// When who asks as `bearer` was last given a certificate of this identity by the root that signs now, since
    /// this process began.
    pub fn given(&self, bearer: &Bearer, identity: &Identity) -> Option<SystemTime> {
        self.holders.lock().last(bearer, identity)
    }

    /// Takes note that the certificates of an identity issued before a time were revoked, so that the next one is not.
    pub fn revoked(&self, identity: &Identity, issued_before: SystemTime) {
        let now = (self.sources.now)();
        self.revocations.lock().record(identity, issued_before, self.config.sign.skew, now);
    }

    /// Signs for the control plane itself, in whose process this runs: no caller, no placement, the same bounds.
    ///
    /// # Errors
    /// When the root cannot or must not sign it.
    pub fn issue_own(
        &self,
        identity: &Identity,
        key: &PublicKey,
        asked: Option<Duration>,
    ) -> Result<(Issued, Arc<Roots>), SignError> {
        self.issue(&Bearer::Workload(identity.clone()), identity, key, asked)
    }

    fn issue(
        &self,
        bearer: &Bearer,
        identity: &Identity,
        key: &PublicKey,
        asked: Option<Duration>,
    ) -> Result<(Issued, Arc<Roots>), SignError> {
        let roots = self.roots();
        let (now, serial) = ((self.sources.now)(), Serial::from_random((self.sources.random)()));
        let earliest = self.revocations.lock().earliest(identity);
        let wanted = Leaf { identity, key, lifetime: asked, earliest };
        let issued = sign::leaf(&self.config.sign, &roots.signing, &wanted, now, serial)?;
        let mut holders = self.holders.lock();
        // Another root may have begun to sign meanwhile.
        if Arc::ptr_eq(&self.roots().signing, &roots.signing) {
            holders.note(bearer, identity, now);
        }
        Ok((issued, roots))
    }

    async fn answer(
        &self,
        request: &Request<IstioCertificateRequest>,
    ) -> Result<IstioCertificateResponse, Unissued> {
        let token = bearer_token(request.metadata()).ok_or(Unissued::NoToken)?;
        let _permit = self.at_once.try_acquire().map_err(|_| Unissued::Busy)?;
        let bearer = self.callers.identify(token).await.map_err(Unissued::Caller)?;
        if !self.limits.lock().take(&bearer, (self.sources.now)()) {
            return Err(Unissued::TooOften(bearer));
        }
        let message = request.get_ref();
        let asked = match message.validity_duration {
            0 => None,
            seconds => match u64::try_from(seconds) {
                Ok(seconds) => Some(Duration::from_secs(seconds)),
                Err(_) => return Err(Unissued::Unclear(bearer, "a validity is not negative")),
            },
        };
        let csr = csr::parse_pem(&message.csr).map_err(|cause| Unissued::Csr(bearer.clone(), cause))?;
        let requested = requested_identity(message, csr.identity, &bearer)?;
        entitlement::decide(&self.trust_domain, &bearer, &requested, &self.placement)?;
        let (issued, roots) = self.issue(&bearer, &requested, &csr.public_key, asked)?;
        tracing::info!(%bearer, identity = %requested, serial = issued.serial.text(), "issued a certificate");
        Ok(IstioCertificateResponse { cert_chain: vec![issued.certificate_pem, roots.trusted_pem.clone()] })
    }

    fn show_root_end(&self) {
        let ends =
            self.roots().signing.not_after().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.metrics.root_ends.set(i64::try_from(ends.as_secs()).unwrap_or(i64::MAX));
    }
}

/// The identity in the metadata, else the one in the request, else the caller's own. Two that differ are none.
fn requested_identity(
    message: &IstioCertificateRequest,
    in_csr: Option<Identity>,
    bearer: &Bearer,
) -> Result<Identity, Unissued> {
    let unclear = |why| Unissued::Unclear(bearer.clone(), why);
    let named = message.metadata.as_ref().and_then(|metadata| metadata.fields.get(IMPERSONATED_IDENTITY));
    let named = match named.map(|value| &value.kind) {
        None => None,
        Some(Some(Kind::StringValue(text))) => {
            Some(text.parse::<Identity>().map_err(|_| unclear("ImpersonatedIdentity is no identity"))?)
        }
        Some(_) => return Err(unclear("ImpersonatedIdentity is not text")),
    };
    match (named, in_csr, bearer) {
        (Some(named), Some(in_csr), _) if named != in_csr => {
            Err(unclear("ImpersonatedIdentity and the signing request differ"))
        }
        (Some(identity), _, _) | (None, Some(identity), _) => Ok(identity),
        (None, None, Bearer::Workload(own)) => Ok(own.clone()),
        (None, None, Bearer::Node(_)) => Err(unclear("a node says which identity it wants")),
    }
}

fn bearer_token(metadata: &MetadataMap) -> Option<&str> {
    let mut values = metadata.get_all("authorization").iter();
    // Two of them could be read differently by two readers.
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX)
        .then_some(token)
}

#[tonic::async_trait]
impl<C: Callers, P: Placement> IstioCertificateService for Authority<C, P> {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        match self.answer(&request).await {
            Ok(answer) => {
                self.metrics.count("issued");
                Ok(Response::new(answer))
            }
            Err(unissued) => {
                self.metrics.count(unissued.label());
                tracing::warn!(reason = unissued.label(), cause = %unissued, "refused a certificate");
                Err(unissued.status())
            }
        }
    }
}

#[cfg(test)]
mod tests;
