//! Who may connect, and who of these may ask.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Config;

/// The common name of the certificate that an API server shows to kubelets.
pub const API_SERVER: &str = "kube-apiserver-kubelet-client";

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file does not hold what it should.
    #[error("cannot read certificates or a key from {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::pki_types::pem::Error,
    },
    /// The clients' CA is none.
    #[error("{path} holds no CA for clients: {cause}")]
    Clients {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::server::VerifierBuilderError,
    },
    /// The certificate and key do not serve.
    #[error("the certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
}

/// How the API speaks TLS: HTTP/1.1 only (what is upgraded needs it), every client with a
/// certificate of the cluster.
///
/// # Errors
/// When the files cannot be read or used.
pub fn config(config: &Config) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.client_ca)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|cause| TlsError::Clients { path: config.client_ca.clone(), cause })?;
    let key = PrivateKeyDer::from_pem_file(&config.server_key)
        .map_err(|cause| TlsError::File { path: config.server_key.clone(), cause })?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&config.server_cert)?, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |cause| TlsError::File { path: path.to_owned(), cause };
    CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

/// The name in a client's certificate.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}
