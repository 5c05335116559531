//! How a responder reaches the world.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use mesh::{
    Denial, Facts, Reason,
    names::WorkloadUid,
    resource::{Authorizer, BackendTarget, Traffic},
};

use crate::{BodyError, BoxFuture, Changes, Closing, Request, Response, Trail};

/// One call, on behalf of the caller in its facts.
#[derive(Debug)]
pub struct Call {
    /// Where to.
    pub target: BackendTarget,
    /// What to send. It is tried again only if its body is held or empty.
    pub request: Request,
    /// On whose behalf, and by what the chosen endpoint's port judges.
    pub facts: Arc<Facts>,
    /// How: timeouts, retries, balancing. The target's own fill in what is absent.
    pub traffic: Traffic,
    /// Only this endpoint: a session that lives there. If it is gone, [`CallError::PinGone`].
    pub pin: Option<WorkloadUid>,
    /// Where it is written down.
    pub trail: Trail,
    /// Ends the call, and its answer, from outside.
    pub closing: Closing,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The response; its body streams.
    pub response: Response,
    /// Who answered.
    pub endpoint: WorkloadUid,
}

/// Reaches backends.
pub trait Upstreams: Send + Sync {
    /// Sends a request to a backend and waits for the head of the answer.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>>;

    /// Asks an external authorizer about a request and what is known of it, and says what its yes changes of the
    /// request. A body that the authorizer is told must be held. Filters ask what stands before the responder, and
    /// [`Upstreams::call`] what stands before the chosen endpoint; a responder asks only about what it alone knows:
    /// the model that is used, one message of several. Who reaches nobody can ask nobody, and is refused.
    ///
    /// # Errors
    /// The denial, for whatever is not a yes.
    fn authorize<'a>(
        &'a self,
        authorizer: &'a Authorizer,
        facts: &'a Facts,
        request: &'a Request,
    ) -> BoxFuture<'a, Result<Changes, Denial>> {
        let _ = (authorizer, facts, request);
        let denial = Denial::plain(Reason::ExternalFailed, "the external authorizer cannot be asked here");
        Box::pin(std::future::ready(Err(denial)))
    }
}

/// Whose fault it is that a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: its body was cut, or it may not.
    Caller,
    /// Ours: what we were configured with cannot be served.
    Ours,
    /// The upstream's: it is not there, too slow, or speaks nonsense.
    Upstream,
}

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The chosen endpoint's policies, or the endpoint's own node, refuse.
    #[error("{0}")]
    Denied(Denial),
    /// The backend does not resolve, or cannot be realised.
    #[error("the backend does not resolve: {0}")]
    Unresolved(Arc<str>),
    /// There is nobody to serve, or nobody can be reached.
    #[error("nobody can serve: {0}")]
    Unavailable(Denial),
    /// The endpoint of the session is gone.
    #[error("{0} is gone")]
    PinGone(WorkloadUid),
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// What answered does not speak HTTP, or broke off.
    #[error("the answer is malformed or was cut: {0}")]
    BadAnswer(String),
    /// The request's body was cut or too large while it was sent.
    #[error("the request was not complete: {0}")]
    Request(BodyError),
    /// The exchange was closed meanwhile.
    #[error("the exchange was closed: {0}")]
    Closed(Denial),
}

impl CallError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Denied(_) | Self::Request(_) | Self::Closed(_) => Fault::Caller,
            Self::Unresolved(_) => Fault::Ours,
            Self::Unavailable(_) | Self::PinGone(_) | Self::TimedOut(_) | Self::BadAnswer(_) => {
                Fault::Upstream
            }
        }
    }

    /// The status by which HTTP says it (Gateway API: 500 for what does not resolve, 503 for no endpoint, 504 for a
    /// timeout).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied(_) | Self::Closed(_) => StatusCode::FORBIDDEN,
            Self::Unresolved(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) | Self::PinGone(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::BadAnswer(_) => StatusCode::BAD_GATEWAY,
            Self::Request(BodyError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Request(BodyError::Stalled) => StatusCode::REQUEST_TIMEOUT,
            Self::Request(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The denial behind it, if one is.
    pub fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Denied(denial) | Self::Unavailable(denial) | Self::Closed(denial) => Some(denial),
            _ => None,
        }
    }
}
