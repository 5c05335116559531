//! The control plane's own trust: its root, its authority, its own certificate, and whom it believes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use authority::{
    Authority, csr,
    serve::{Roots, Sources},
};
use base64::Engine as _;
use identity::{CertificateRequest, FetchError, Issuer, Keeper};
use mesh::{Identity, TrustDomain};
use parking_lot::Mutex;
use proto::istio::v1::auth::{
    IstioCertificateRequest, IstioCertificateResponse,
    istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
};
use serde::Serialize;
use tonic::{Request, Response, Status};
use transport::Bundles;

use crate::{roll::Roll, tokens::Bearers};

/// Our authority.
pub(crate) type Signer = Authority<Bearers, Roll>;

/// Most certificates that are remembered as issued.
const ISSUED_MAX: usize = 10_000;
/// How often linked clusters ask for our bundle again: they also tell then which one their proxies hold.
const REFRESH_HINT: Duration = Duration::from_secs(20);

/// Random bytes, from a source fit for secrets.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes[..]);
    bytes
}

/// The authority over our roots.
pub(crate) fn authority(roots: Roots, bearers: Bearers, roll: Roll, lifetime: Duration) -> Arc<Signer> {
    let mut config = authority::serve::Config::default();
    config.sign.lifetime_max = lifetime;
    let sources = Sources { now: Arc::new(SystemTime::now), random: Arc::new(random) };
    Arc::new(Authority::new(config, sources, bearers, roll, roots))
}

/// Our roots, as they are told to proxies.
pub(crate) fn own_bundle(signer: &Signer) -> translate::Bundle {
    let encode = |root: &Vec<u8>| base64::engine::general_purpose::STANDARD.encode(root).into();
    let roots = signer.roots();
    translate::Bundle { sequence: roots.sequence(), roots: roots.trusted().iter().map(encode).collect() }
}

/// Our roots, as they are told to linked clusters.
pub(crate) fn published_bundle(signer: &Signer) -> authority::Bundle {
    let roots = signer.roots();
    authority::Bundle {
        roots: roots.trusted().to_vec(),
        sequence: roots.sequence(),
        refresh_hint: REFRESH_HINT,
    }
}

/// Whom the control plane believes: itself, and the trust domains of its links.
pub(crate) fn believed(
    signer: &Signer,
    trust_domain: &TrustDomain,
    linked: &BTreeMap<TrustDomain, Vec<Vec<u8>>>,
) -> Arc<Bundles> {
    let mut bundles: Bundles = linked.clone();
    bundles.insert(trust_domain.clone(), signer.roots().trusted().to_vec());
    Arc::new(bundles)
}

/// The identity of a control plane.
pub(crate) fn own_identity(trust_domain: &TrustDomain) -> Result<Identity, mesh::identity::IdentityError> {
    Identity::of_service_account(trust_domain, "strait-system", "controlplane")
}

/// Signs for the control plane itself, in the same process.
pub(crate) struct InProcess(pub(crate) Arc<Signer>);

impl Issuer for InProcess {
    async fn issue(&self, request: &CertificateRequest) -> Result<Vec<String>, FetchError> {
        let other = |error: &dyn std::fmt::Display| FetchError::Other(error.to_string());
        let parsed = csr::parse_pem(request.csr_pem()).map_err(|error| other(&error))?;
        let signed = self.0.issue_own(request.identity(), &parsed.public_key, None);
        let (issued, roots) = signed.map_err(|error| other(&error))?;
        // The roots are one element, the last: what stands before it is sent to peers.
        Ok(vec![issued.certificate_pem, roots.trusted_pem().to_owned()])
    }
}

/// A keeper of the control plane's own certificate.
pub(crate) fn keeper(own: &Identity, bundles: Arc<Bundles>) -> Keeper {
    let sources = identity::Sources { now: Arc::new(SystemTime::now), chance: Arc::new(rand::random) };
    let keeper = Keeper::new(identity::Config::default(), sources, None);
    keeper.set_bundles(bundles);
    keeper.set_wanted(&BTreeSet::from([own.clone()]));
    keeper
}

/// What was issued last for an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IssuedRow {
    /// Whose.
    pub(crate) identity: String,
    /// Its serial number, in hex.
    pub(crate) serial: String,
    /// When it begins, in seconds since 1970.
    pub(crate) not_before: i64,
    /// When it ends, in seconds since 1970.
    pub(crate) not_after: i64,
    /// True if it can be used now.
    pub(crate) valid: bool,
}

/// The certificate service, which remembers what it issued.
#[derive(Clone)]
pub(crate) struct Recording {
    signer: Arc<Signer>,
    issued: Arc<Mutex<BTreeMap<String, IssuedRow>>>,
}

impl Recording {
    pub(crate) fn new(signer: Arc<Signer>) -> Self {
        Self { signer, issued: Arc::default() }
    }

    pub(crate) fn service(&self) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(self.clone())
            .max_decoding_message_size(authority::serve::REQUEST_BYTES_MAX)
    }

    /// What was issued last for each identity.
    pub(crate) fn rows(&self, now: SystemTime) -> Vec<IssuedRow> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut issued = self.issued.lock();
        issued.retain(|_, row| row.not_after > now);
        issued.values().map(|row| IssuedRow { valid: row.not_before <= now, ..row.clone() }).collect()
    }

    fn remember(&self, chain: &[String]) {
        let Some(row) = chain.first().and_then(|pem| read(pem)) else { return };
        let mut issued = self.issued.lock();
        if issued.len() < ISSUED_MAX || issued.contains_key(&row.identity) {
            issued.insert(row.identity.clone(), row);
        }
    }
}

fn read(pem: &str) -> Option<IssuedRow> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let identity = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    })?;
    let serial = certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    let validity = certificate.validity();
    Some(IssuedRow {
        identity,
        serial,
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        valid: true,
    })
}

#[tonic::async_trait]
impl IstioCertificateService for Recording {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let answer = self.signer.create_certificate(request).await?;
        self.remember(&answer.get_ref().cert_chain);
        Ok(answer)
    }
}
