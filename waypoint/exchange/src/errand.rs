//! Errands: requests that the proxy makes in its own name, to a place that an operator named, for a small answer:
//! keys of an issuer, the word of an authorizer or guard.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use mesh::{
    Caller, Facts, Identity, Peer,
    facts::{Fact, HttpFacts},
    resource::{BackendTarget, Millis, Retries, Traffic},
};

use crate::{Body, Call, CallError, Closing, HoldError, Request, Trail, Upstreams};

/// Marks a request that asks an authorizer or guard, so that nobody asks an authorizer about asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asking;

/// Runs errands. Clones are the same.
#[derive(Clone)]
pub struct Errands {
    own: Identity,
    upstreams: Arc<dyn Upstreams>,
}

/// Why an errand came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ErrandError {
    /// The call has no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No whole answer came in time.
    #[error("no whole answer within {0:?}")]
    Late(Duration),
    /// The answer is longer than it may be, or was cut.
    #[error("the answer cannot be read: {0}")]
    Answer(#[from] HoldError),
}

/// The trailers of an errand's answer, among its extensions.
#[derive(Debug, Clone)]
pub struct Trailers(pub HeaderMap);

impl Errands {
    /// Errands in the name of this identity.
    pub fn new(own: Identity, upstreams: Arc<dyn Upstreams>) -> Self {
        Self { own, upstreams }
    }

    /// As [`run`], by its own upstreams.
    ///
    /// # Errors
    /// As there.
    pub async fn send(
        &self,
        target: &BackendTarget,
        request: Request,
        timeout: Duration,
        answer_bytes_max: usize,
    ) -> Result<http::Response<Bytes>, ErrandError> {
        run(&*self.upstreams, &self.own, target, request, timeout, answer_bytes_max).await
    }
}

/// Sends a request in the name of `own` and reads the whole answer. The host is that of the target. Nothing is tried
/// twice. Trailers are among the extensions of the answer, as [`Trailers`].
///
/// # Errors
/// When no answer comes in time, or it is longer than `answer_bytes_max`. Any status is an answer.
pub async fn run(
    upstreams: &dyn Upstreams,
    own: &Identity,
    target: &BackendTarget,
    mut request: Request,
    timeout: Duration,
    answer_bytes_max: usize,
) -> Result<http::Response<Bytes>, ErrandError> {
    let (host, port) = match target {
        BackendTarget::Service { service, port } => (service.hostname.to_string(), *port),
        BackendTarget::Host(host) => (host.host.to_string(), host.port),
        BackendTarget::Agent(_) | BackendTarget::Broken(_) => (String::new(), 0),
    };
    if let Ok(value) = HeaderValue::from_str(&format!("{host}:{port}")) {
        request.headers_mut().insert(header::HOST, value);
    }
    let http = HttpFacts {
        method: request.method().as_str().into(),
        path: request.uri().path().into(),
        host: host.into(),
        headers: Default::default(),
    };
    let span = Some(Millis(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1)));
    let call = Call {
        target: target.clone(),
        request,
        facts: Arc::new(facts(own, http, port)),
        traffic: Traffic {
            request_timeout: span,
            attempt_timeout: span,
            connect_timeout: span,
            retries: Some(Retries { attempts: 0, codes: Vec::new(), backoff: None }),
            ..Traffic::default()
        },
        pin: None,
        trail: Trail::default(),
        closing: Closing::default(),
    };
    let work = async {
        let (mut head, mut body) = upstreams.call(call).await?.response.into_parts();
        let whole = Body::hold(&mut body, answer_bytes_max).await?.clone();
        if let Some(trailers) = body.held_trailers() {
            head.extensions.insert(Trailers(trailers.clone()));
        }
        Ok(http::Response::from_parts(head, whole))
    };
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(ErrandError::Late(timeout)))
}

fn facts(own: &Identity, http: HttpFacts, port: u16) -> Facts {
    Facts {
        caller: Caller { workload: Peer::Verified(own.clone()), by: None },
        source_address: None,
        port,
        http: Fact::Known(http),
        mcp: Fact::NotApplicable,
        a2a: Fact::NotApplicable,
        llm: Fact::NotApplicable,
        user: None,
    }
}

impl std::fmt::Debug for Errands {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Errands").field("own", &self.own).finish_non_exhaustive()
    }
}
