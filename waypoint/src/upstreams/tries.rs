//! What one call has tried, and whether it may be tried again.

use exchange::{CallError, Reply, Request};
use http::Method;
use mesh::{hop::Avoid, names::WorkloadUid};

/// What one call has tried.
#[derive(Default)]
pub(super) struct Tries {
    // Nobody was there: not to be tried again.
    pub(super) unreached: Avoid,
    // They answered badly or not: others come first.
    pub(super) failed: Vec<WorkloadUid>,
    // Attempts of which nothing was sent.
    pub(super) unsent: usize,
}

impl Tries {
    pub(super) fn note(&mut self, failed: &Failed) {
        let endpoint = failed.endpoint.clone();
        match failed.stage {
            Stage::Unsent(_) => {
                self.unsent += 1;
                self.unreached.workloads.extend(endpoint);
            }
            Stage::Final | Stage::Sent { .. } | Stage::Answered => self.failed.extend(endpoint),
        }
    }
}

/// A failed attempt.
pub(super) struct Failed {
    // Whose fault it was.
    pub(super) endpoint: Option<WorkloadUid>,
    pub(super) error: CallError,
    pub(super) stage: Stage,
    // An answer that the rule would rather have another of.
    pub(super) reply: Option<Reply>,
}

pub(super) enum Stage {
    // Another attempt would fail alike.
    Final,
    // Not one byte was sent.
    Unsent(Box<Request>),
    // It may have been received.
    Sent { reused: bool },
    // It was answered with a status that the rule tries again.
    Answered,
}

impl Failed {
    pub(super) fn last(error: CallError) -> Self {
        Self { endpoint: None, error, stage: Stage::Final, reply: None }
    }

    pub(super) fn answered(reply: Reply) -> Self {
        let error = CallError::BadAnswer(format!("{} was answered", reply.response.status()));
        Self { endpoint: Some(reply.endpoint.clone()), error, stage: Stage::Answered, reply: Some(reply) }
    }

    pub(super) fn into_result(self) -> Result<Reply, CallError> {
        self.reply.ok_or(self.error)
    }
}

/// The same request once more, if its body is at hand.
pub(super) fn again(request: &Request) -> Option<Request> {
    let mut copy = Request::new(request.body().again()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

// RFC 9110, section 9.2.2.
pub(super) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
