//! The channel to the control plane: one, for configuration, reports and certificates.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use identity::{Anchors, TokenFile, Tokens as _};
use mesh::Identity;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tonic::{
    codegen::{BoxFuture, Service, http::Uri},
    transport::{Channel, Endpoint},
};
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

/// A channel that connects by itself, and only to the cluster's control plane. Its roots may be rotated while we run,
/// so each connection looks anew: at what we were told, and until then at the file.
pub(super) fn channel(config: &Config, anchors: Anchors) -> Result<Channel, RunError> {
    let unusable = |text: String| RunError::Root(format!("{}: {text}", config.root.display()));
    let expected = config.control_plane_identity()?;
    // What cannot be used is said at the start, not at the first connection.
    connector(&config.root, &expected, &anchors).map_err(unusable)?;
    let uri = format!("http://{}", config.control_plane);
    let endpoint = Endpoint::from_shared(uri).map_err(|error| RunError::Root(error.to_string()))?;
    let connect = Connect { root: config.root.clone(), expected, anchors };
    Ok(endpoint
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connect))
}

/// Makes each connection under the roots of its moment.
struct Connect {
    root: PathBuf,
    expected: Identity,
    anchors: Anchors,
}

impl Service<Uri> for Connect {
    type Response = <Connector as Service<Uri>>::Response;
    type Error = io::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = connector(&self.root, &self.expected, &self.anchors);
        Box::pin(async move {
            let mut connector = connector.map_err(io::Error::other)?;
            connector.call(uri).await.map_err(io::Error::other)
        })
    }
}

fn connector(file: &Path, expected: &Identity, anchors: &Anchors) -> Result<Connector, String> {
    let trust_domain = expected.trust_domain();
    // Once the control plane told its roots, the file does not matter any more.
    let given = if anchors.live() { Vec::new() } else { given(file)? };
    let bundles = BTreeMap::from([(trust_domain.clone(), anchors.roots(&given, trust_domain))]);
    Connector::new(ConnectorConfig {
        trust: ServerTrust::Identity {
            expected: Expected::from(expected.clone()),
            bundles: Arc::new(bundles),
        },
        credential: None,
        alpn: Alpn::H2,
        timeout: CONNECT_TIMEOUT,
    })
    .map_err(|error| crate::causes::with_causes(&error))
}

/// The roots in the file that we were given.
fn given(file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let pem = fs::read(file).map_err(|error| error.to_string())?;
    let roots = CertificateDer::pem_slice_iter(&pem).map(|der| der.map(|der| der.to_vec()));
    let roots: Vec<Vec<u8>> = roots.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if roots.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(roots)
}

/// The join token, read anew for each use.
pub(super) fn bearer(config: &Config) -> Bearer {
    let file = TokenFile(config.token_file.clone());
    Arc::new(move || file.token().map_err(|error| crate::causes::with_causes(&error)))
}
