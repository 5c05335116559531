//! The channel to the control plane: TLS to its own identity, under the roots that we were given or were told since.

use std::{sync::Arc, time::Duration};

use identity::Anchors;
use mesh::Identity;
use tonic::transport::{Channel, Endpoint};
use transport::{
    Bundles, Expected,
    dial::DialError,
    tls::{Alpn, Connector, ConnectorConfig, ServerTrust},
};

/// Where the control plane is, and who it must be.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    /// Its address.
    pub address: std::net::SocketAddr,
    /// Who it is.
    pub identity: Identity,
    /// The roots with which it is believed at first, until it tells its own.
    pub bundles: Arc<Bundles>,
}

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent control plane is asked whether it is there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Time that it has for the answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel that connects when it is used, and again when it broke.
pub(crate) fn channel(to: &ControlPlane, anchors: Anchors) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{}", to.address))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let to = to.clone();
    let connect = tower::service_fn(move |uri| {
        let connector = connector(&to, &anchors);
        async move {
            let mut connector = connector.map_err(std::io::Error::other)?;
            tower::Service::call(&mut connector, uri)
                .await
                .map_err(|error: DialError| std::io::Error::other(error))
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connect))
}

/// Its roots may be rotated while we run, so each connection looks anew.
fn connector(to: &ControlPlane, anchors: &Anchors) -> Result<Connector, transport::credential::BuildError> {
    let mut bundles = (*to.bundles).clone();
    let domain = to.identity.trust_domain();
    let given = bundles.remove(domain).unwrap_or_default();
    bundles.insert(domain.clone(), anchors.roots(&given, domain));
    let trust =
        ServerTrust::Identity { expected: Expected::from(to.identity.clone()), bundles: Arc::new(bundles) };
    Connector::new(ConnectorConfig { trust, credential: None, alpn: Alpn::H2, timeout: CONNECT_TIMEOUT })
}
