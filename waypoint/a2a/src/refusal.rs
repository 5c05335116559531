//! How a refusal is said in this protocol.
//!
//! Who is granted nothing here is told so, with HTTP status 403. To everybody else, what is not granted does not exist:
//! the answer is that of the protocol for something unknown, with the refusal's id and no other hint.

use exchange::{Response, answer};
use http::StatusCode;
use mesh::{Denial, Reason};

use crate::{
    fault::{Fault, Rejection, Voice},
    method::Known,
    opening::Opened,
    scope::Scope,
};

/// The answer to what was read and is refused.
pub(crate) fn refused(scope: &Scope, opened: &Opened, denial: &Denial) -> Response {
    let id = scope.refused(denial);
    let recorded = (denial.reason, id);
    if denial.reason == Reason::NotYours {
        return opened.voice.answer(
            Fault::TaskNotFound,
            hidden(&opened.voice, Fault::TaskNotFound),
            "Task not found",
            Some(&recorded),
        );
    }
    if denial.reason == Reason::PrivateAddress {
        return opened.voice.answer(
            Fault::InvalidParams,
            hidden(&opened.voice, Fault::InvalidParams),
            "The URL for push notifications is not one that may be called",
            Some(&recorded),
        );
    }
    if !is_of_policy(denial.reason) {
        // Nobody decided that this caller may not: there is nothing to hide.
        let status = answer::status_of(denial.reason);
        let fault = if status == StatusCode::FORBIDDEN { Fault::Forbidden } else { Fault::Internal };
        return opened.voice.answer(fault, status, denial.reason.name(), Some(&recorded));
    }
    // The card is there for whoever is granted anything; to whom it is refused, nothing is.
    if opened.method.known == Some(Known::Card) || !scope.knows_caller() {
        return opened.voice.answer(Fault::Forbidden, StatusCode::FORBIDDEN, "Forbidden", Some(&recorded));
    }
    let fault = Fault::MethodNotFound;
    opened.voice.answer(fault, hidden(&opened.voice, fault), "Method not found", Some(&recorded))
}

/// An error of JSON-RPC is an answer of the protocol, and so a success of HTTP.
fn hidden(voice: &Voice, fault: Fault) -> StatusCode {
    match voice {
        Voice::Rpc { .. } => StatusCode::OK,
        Voice::Http(_) => fault.status(),
    }
}

/// True if a policy decided, or the want of one.
fn is_of_policy(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Denied
            | Reason::NoGrant
            | Reason::BeyondLimit
            | Reason::IdentityUnknown
            | Reason::NotOfTheMesh
            | Reason::PolicyBroken
            | Reason::PolicyMissing
    )
}

/// The answer to what cannot be taken. Who is granted nothing does not learn what was wrong with it.
pub(crate) fn rejected(scope: &Scope, rejection: &Rejection, denial: Option<&Denial>) -> Response {
    if let Some(denial) = denial
        && !scope.knows_caller()
    {
        let id = scope.refused(denial);
        let recorded = (denial.reason, id);
        return rejection.voice.answer(Fault::Forbidden, StatusCode::FORBIDDEN, "Forbidden", Some(&recorded));
    }
    let id = scope.refused(&Denial::plain(rejection.reason, rejection.said.as_str()));
    let recorded = (rejection.reason, id);
    rejection.voice.answer(rejection.fault, rejection.status, &rejection.said, Some(&recorded))
}
