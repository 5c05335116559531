//! Asks an authority: the [`Issuer`] that does it, over `IstioCertificateService` or in the same process.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use mesh::Identity;
use prost_types::{Struct, Value, value::Kind};
use proto::istio::v1::auth::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};
use tonic::{
    Request, Status,
    body::Body as RequestBody,
    client::GrpcService,
    codegen::{Body, StdError},
};

use crate::{
    answer::ANSWER_BYTES_MAX,
    request::CertificateRequest,
    token::{TokenError, Tokens},
};

/// Who signs. The control plane, which is its own authority, implements this without a wire.
pub trait Issuer: Send + Sync + 'static {
    /// Has a request signed: the certificate, intermediates and, last, the roots, each element PEM.
    ///
    /// # Errors
    /// When it is not signed.
    fn issue(
        &self,
        request: &CertificateRequest,
    ) -> impl Future<Output = Result<Vec<String>, FetchError>> + Send;
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is nothing to prove ourselves with.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The authority refused, or could not be reached.
    #[error("the authority answered {code}: {message}")]
    Status {
        /// The gRPC code, by name.
        code: String,
        /// What it said.
        message: String,
    },
    /// It did not answer in time.
    #[error("the authority did not answer within {0:?}")]
    Silent(Duration),
    /// Another reason, of an issuer without a wire.
    #[error("{0}")]
    Other(String),
}

impl From<Status> for FetchError {
    fn from(status: Status) -> Self {
        Self::Status { code: format!("{:?}", status.code()), message: status.message().to_owned() }
    }
}

/// A client of `IstioCertificateService` over a channel that the program made.
#[derive(Clone)]
pub struct CertificateClient<T> {
    channel: T,
    tokens: Arc<dyn Tokens>,
    lifetime: Duration,
}

impl<T> fmt::Debug for CertificateClient<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("CertificateClient").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl<T> CertificateClient<T> {
    /// Asks for certificates of this lifetime (the authority may give less), proving itself with a token.
    pub fn new(channel: T, tokens: Arc<dyn Tokens>, lifetime: Duration) -> Self {
        Self { channel, tokens, lifetime }
    }
}

impl<T> Issuer for CertificateClient<T>
where
    T: GrpcService<RequestBody> + Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::Future: Send,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    async fn issue(&self, request: &CertificateRequest) -> Result<Vec<String>, FetchError> {
        let token = format!("Bearer {}", self.tokens.token()?);
        let mut message = Request::new(IstioCertificateRequest {
            csr: request.csr_pem().to_owned(),
            validity_duration: i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX),
            metadata: Some(impersonate(request.identity())),
        });
        let token =
            token.parse().map_err(|_| FetchError::Other("the token is no header value".to_owned()))?;
        message.metadata_mut().insert("authorization", token);
        let client = IstioCertificateServiceClient::new(self.channel.clone());
        let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX + 1024);
        Ok(client.create_certificate(message).await?.into_inner().cert_chain)
    }
}

fn impersonate(identity: &Identity) -> Struct {
    let value = Value { kind: Some(Kind::StringValue(identity.to_string())) };
    Struct { fields: BTreeMap::from([("ImpersonatedIdentity".to_owned(), value)]) }
}
