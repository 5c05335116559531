//! One question to one external authorizer. Whatever is not a yes is a no, also silence and nonsense.

use std::time::Duration;

use bytes::Bytes;
use exchange::{Asking, Body, HoldError, Request, Upstreams, errand};
use mesh::{
    Denial, Facts, Identity, Reason,
    resource::{Authorizer, AuthorizerProtocol},
};

use super::{Said, grpc, http};

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Time in which the body of a request that an authorizer is told must have arrived.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Asks about a request whose body, where it is told, is held.
///
/// # Errors
/// When there is no answer, in time or at all.
pub(crate) async fn ask(
    upstreams: &dyn Upstreams,
    own: &Identity,
    authorizer: &Authorizer,
    facts: &Facts,
    request: &Request,
) -> Result<Said, Denial> {
    let body = match (authorizer.body_bytes, request.body().held()) {
        (0, _) => Bytes::new(),
        (limit, Some(body)) if u32::try_from(body.len()).is_ok_and(|length| length <= limit) => body.clone(),
        (limit, Some(_)) => return Err(too_much(limit)),
        (_, None) => return Err(failed(&"the content, which it is told, is not at hand")),
    };
    let question = match &authorizer.protocol {
        AuthorizerProtocol::Grpc => grpc::question(authorizer, facts, request, &body),
        AuthorizerProtocol::Http { path_prefix } => http::question(authorizer, path_prefix, request, body),
    };
    let mut question = question.map_err(|error| failed(&error))?;
    question.extensions_mut().insert(Asking);
    let timeout = authorizer.timeout.into();
    let said = errand::run(upstreams, own, &authorizer.target, question, timeout, ANSWER_BYTES_MAX).await;
    let said = said.map_err(|error| failed(&error))?;
    match &authorizer.protocol {
        AuthorizerProtocol::Grpc => grpc::answer(said),
        AuthorizerProtocol::Http { .. } => http::answer(authorizer, said),
    }
    .map_err(|error| failed(&error))
}

/// Holds the body that an authorizer is told.
///
/// # Errors
/// When it is longer than the authorizer is told, or does not come.
pub(crate) async fn hold(authorizer: &Authorizer, body: &mut Body) -> Result<(), Denial> {
    let limit = usize::try_from(authorizer.body_bytes).unwrap_or(usize::MAX);
    if limit == 0 {
        return Ok(());
    }
    match tokio::time::timeout(BODY_TIME_MAX, body.hold(limit)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(HoldError::TooLarge { .. })) => Err(too_much(authorizer.body_bytes)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(failed(&format!("the content did not come within {BODY_TIME_MAX:?}"))),
    }
}

/// Its no, where nothing else is told of it.
pub(crate) fn no() -> Denial {
    Denial::plain(Reason::ExternalDenied, "the external authorizer says no")
}

fn too_much(limit: u32) -> Denial {
    let text = format!("the content has more than {limit} bytes, which the authorizer is told");
    Denial::plain(Reason::TooMuch, text)
}

fn failed(error: &dyn std::fmt::Display) -> Denial {
    Denial::plain(Reason::ExternalFailed, format!("the external authorizer gives no answer: {error}"))
}
