//! What a client is told whose credential is missing or not valid: 401 and a challenge (RFC 6750, RFC 9728).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mesh::{Denial, Reason, resource::Authentication};

use crate::{invalid::Invalid, metadata};

/// A refusal of a request for want of a user.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What is recorded. Its detail says more than the client is told.
    pub denial: Denial,
    /// What the client is told.
    pub challenge: Challenge,
}

/// How the client can do better.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    value: HeaderValue,
    error: Option<&'static str>,
}

impl Refusal {
    /// Of a request that was led to where this is demanded after its credential was taken.
    pub fn unasked(demand: &Authentication) -> Self {
        Self::missing(Challenge::of(demand, &[]))
    }

    pub(crate) fn missing(challenge: Challenge) -> Self {
        let denial = Denial::plain(Reason::UserMissing, "a user's token or key is needed");
        Self { denial, challenge }
    }

    pub(crate) fn invalid(invalid: Invalid, challenge: Challenge) -> Self {
        let denial = Denial::plain(Reason::UserInvalid, invalid.to_string());
        // RFC 6750, section 3.1. Which check failed is nobody's business who has no valid token.
        let error = if invalid == Invalid::Several { "invalid_request" } else { "invalid_token" };
        Self { denial, challenge: Challenge { error: Some(error), ..challenge } }
    }
}

impl Challenge {
    /// The challenge of an authentication; `keys` are the headers in which keys may be brought.
    pub(crate) fn of(demand: &Authentication, keys: &[HeaderName]) -> Self {
        let metadata = demand.resource.as_deref().and_then(metadata::url_of);
        let value = match (metadata, keys.first()) {
            (Some(url), _) => HeaderValue::from_str(&format!("Bearer resource_metadata=\"{url}\"")).ok(),
            (None, Some(name)) if demand.issuers.len() == keys.len() => {
                HeaderValue::from_str(&format!("ApiKey header=\"{name}\"")).ok()
            }
            _ => None,
        };
        Self { value: value.unwrap_or(HeaderValue::from_static("Bearer")), error: None }
    }

    /// Writes it to an answer, whatever shape the answer has otherwise.
    pub fn write(&self, status: &mut StatusCode, headers: &mut HeaderMap) {
        *status = StatusCode::UNAUTHORIZED;
        let value = self.error.and_then(|error| {
            let said = self.value.to_str().ok()?;
            let glue = if said.contains(' ') { "," } else { "" };
            HeaderValue::from_str(&format!("{said}{glue} error=\"{error}\"")).ok()
        });
        headers.insert(header::WWW_AUTHENTICATE, value.unwrap_or_else(|| self.value.clone()));
        // A shared cache must not tell the next client what this one was told.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
