//! The channel to the control plane: one, for configuration, reports and certificates.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use identity::{TokenFile, Tokens as _};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tonic::transport::{Channel, Endpoint};
use transport::{
    Expected,
    tls::{Alpn, Connector, ConnectorConfig, ServerTrust},
};
use wire::Bearer;

use super::error::RunError;
use crate::config::Config;

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After so long without traffic the control plane is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Time it has for the answer.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel that connects by itself, and only to the cluster's control plane.
pub(super) fn channel(config: &Config) -> Result<Channel, RunError> {
    let unusable = |text: String| RunError::Root(format!("{}: {text}", config.root.display()));
    let pem = fs::read(&config.root).map_err(|error| unusable(error.to_string()))?;
    let roots = CertificateDer::pem_slice_iter(&pem).map(|der| der.map(|der| der.to_vec()));
    let roots: Vec<Vec<u8>> = roots.collect::<Result<_, _>>().map_err(|error| unusable(error.to_string()))?;
    if roots.is_empty() {
        return Err(unusable("it holds no certificate".to_owned()));
    }
    let bundles = Arc::new(BTreeMap::from([(config.trust_domain.clone(), roots)]));
    let connector = Connector::new(ConnectorConfig {
        trust: ServerTrust::Identity { expected: Expected::from(config.control_plane_identity()?), bundles },
        credential: None,
        alpn: Alpn::H2,
        timeout: CONNECT_TIMEOUT,
    })
    .map_err(|error| unusable(error.to_string()))?;
    let uri = format!("http://{}", config.control_plane);
    let endpoint = Endpoint::from_shared(uri).map_err(|error| RunError::Root(error.to_string()))?;
    Ok(endpoint
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector))
}

/// The join token, read anew for each use.
pub(super) fn bearer(config: &Config) -> Bearer {
    let file = TokenFile(config.token_file.clone());
    Arc::new(move || file.token().map_err(|error| crate::causes::with_causes(&error)))
}
