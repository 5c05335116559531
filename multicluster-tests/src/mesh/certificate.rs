//! Has a certificate signed by a cluster's authority, as a node or anybody else with a token would ask.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ::mesh::{Identity, TrustDomain};
use anyhow::Context as _;
use prost_types::{Struct, Value, value::Kind};
use proto::istio::v1::auth::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use tonic::{Request, transport::Endpoint};
use transport::{
    Expected,
    tls::{Alpn, Connector, ConnectorConfig, ServerTrust},
};

use super::cluster::Cluster;
use crate::svid::Svid;

/// How long the authority may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A certificate of this identity, asked for with this bearer token.
///
/// # Errors
/// When the authority does not sign it.
pub async fn certificate(cluster: &Cluster, token: &str, identity: &str) -> anyhow::Result<Svid> {
    let trust_domain: TrustDomain = cluster.trust_domain().parse()?;
    let expected = Identity::of_service_account(&trust_domain, "strait-system", "controlplane")?;
    let bundles = Arc::new([(trust_domain, vec![cluster.root()?])].into());
    let connector = Connector::new(ConnectorConfig {
        trust: ServerTrust::Identity { expected: Expected::new([expected]), bundles },
        credential: None,
        alpn: Alpn::H2,
        timeout: TIMEOUT,
    })?;
    let address = cluster.number().at(0, 1, controlplane::PORT);
    let channel =
        Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?;

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(identity.to_owned().try_into()?)];
    let asked = Value { kind: Some(Kind::StringValue(identity.to_owned())) };
    let mut request = Request::new(IstioCertificateRequest {
        csr: params.serialize_request(&key)?.pem()?,
        validity_duration: 3600,
        metadata: Some(Struct { fields: BTreeMap::from([("ImpersonatedIdentity".to_owned(), asked)]) }),
    });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let answer = IstioCertificateServiceClient::new(channel).create_certificate(request).await?.into_inner();
    let leaf = answer.cert_chain.first().context("the chain is empty")?;
    Ok(Svid {
        leaf: CertificateDer::from_pem_slice(leaf.as_bytes())?,
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    })
}
