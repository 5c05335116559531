//! TLS for the control plane: one-way or mutual, the server always by its SPIFFE identity.
//!
//! The same rules as for tunnels (TLS 1.3, one bundle for each trust domain), but the client may prove itself by
//! a token instead of a certificate.

pub mod connector;
pub mod server;

pub use connector::{Connector, ConnectorConfig, ServerTrust, SpkiPin};
pub use server::{ClientCertificates, ServerTls, TlsStream, accept_tls, incoming};

/// Which HTTP versions are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alpn {
    /// Only HTTP/2, as gRPC needs.
    #[default]
    H2,
    /// HTTP/2 or HTTP/1.1.
    H2OrHttp1,
    /// Only HTTP/1.1.
    Http1,
}
