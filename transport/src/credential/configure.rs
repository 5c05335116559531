//! Builds TLS configurations: TLS 1.3 only, no resumption (a resumed session would skip the proof), no server name.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, danger::ServerCertVerifier},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{
    provider::provider,
    verify::{Roots, Verifier},
};

/// HTTP/2 in ALPN.
pub(crate) const ALPN_H2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What a server asks of its clients.
pub(crate) enum Clients {
    /// Nothing.
    None,
    /// To prove themselves, if they show a certificate.
    Optional(Arc<Roots>),
    /// To prove themselves.
    Required(Arc<Roots>),
}

pub(crate) fn client(
    verifier: Arc<dyn ServerCertVerifier>,
    key: Option<Arc<CertifiedKey>>,
    alpn: &[&[u8]],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites and groups for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match key {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

pub(crate) fn server(clients: Clients, key: Arc<CertifiedKey>, alpn: &[&[u8]]) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites and groups for TLS 1.3");
    let builder = match clients {
        Clients::None => builder.with_no_client_auth(),
        Clients::Optional(roots) => {
            builder.with_client_cert_verifier(Arc::new(Verifier { roots, anonymous: true }))
        }
        Clients::Required(roots) => {
            builder.with_client_cert_verifier(Arc::new(Verifier { roots, anonymous: false }))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}
