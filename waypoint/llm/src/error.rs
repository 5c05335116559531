//! Errors as each API says them. Refusals carry their reason and id, and never what a policy permits.

use std::sync::Arc;

use exchange::{Body, Exceeded, Exchange, Response, answer};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mesh::{Denial, Reason};
use serde_json::{Value, json};

use crate::operation::Dialect;

/// Longest text of a provider that an error repeats, in characters.
pub const SHOWN_MAX: usize = 1024;

/// An error that is said to a caller.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub status: StatusCode,
    pub message: String,
    /// For machines; OpenAI's field.
    pub code: Option<String>,
    /// The field of the request that is at fault; OpenAI's field.
    pub param: Option<String>,
}

impl Said {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None, param: None }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

/// The kind of an error, by the API's own word.
pub(crate) fn kind(dialect: Dialect, status: StatusCode) -> &'static str {
    match (dialect, status.as_u16()) {
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (Dialect::Messages, 404) => "not_found_error",
        (Dialect::Messages, 413) => "request_too_large",
        (Dialect::Messages, 429) => "rate_limit_error",
        (Dialect::Messages, 503 | 529) => "overloaded_error",
        (Dialect::Messages, 500..) => "api_error",
        (_, 429) => "rate_limit_exceeded",
        (_, 500..) => "server_error",
        _ => "invalid_request_error",
    }
}

/// The answer that says it.
pub(crate) fn response(dialect: Dialect, said: &Said, refused: Option<(Reason, &Arc<str>)>) -> Response {
    let kind = kind(dialect, said.status);
    let mut body = match dialect {
        Dialect::Messages => json!({"type": "error", "error": {"type": kind, "message": said.message}}),
        Dialect::Chat | Dialect::Responses => json!({"error": {
            "message": said.message, "type": kind, "param": said.param, "code": said.code,
        }}),
    };
    if let Some((reason, id)) = refused {
        body["error"]["reason"] = json!(reason.name());
        body["error"]["id"] = json!(id);
    }
    let mut response = json_response(said.status, &body);
    if let Some((reason, id)) = refused
        && let Ok(value) = HeaderValue::from_str(&format!("id={id}; reason={reason}"))
    {
        response.headers_mut().insert(answer::DENIED, value);
    }
    response
}

/// A JSON answer.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::held_bytes(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Records a denial and says it. What was wrong with the request itself is told; what a policy says is not.
pub(crate) fn denied(exchange: &Exchange, dialect: Dialect, denial: &Denial) -> Response {
    let id = exchange.refused(denial);
    let reason = denial.reason;
    let status = match reason {
        // The request can be changed so that it is served.
        Reason::NotBuilt => StatusCode::BAD_REQUEST,
        reason => answer::status_of(reason),
    };
    let detail = denial.detail.as_deref().unwrap_or_default();
    let message = match reason {
        Reason::Malformed | Reason::NotTranslatable | Reason::NotBuilt | Reason::TooMuch => detail.to_owned(),
        Reason::QuotaExceeded => quota(denial),
        Reason::ProviderFailed => "No provider of this model answered".to_owned(),
        _ => format!("Refused: {reason}"),
    };
    let mut said = Said::new(status, format!("{message} (id {id})"));
    said.code = Some(reason.name().to_owned());
    said.param = denial
        .field
        .as_deref()
        .filter(|_| reason != Reason::NoGrant && denial.policy.is_none())
        .map(str::to_owned);
    response(dialect, &said, Some((reason, &id)))
}

fn quota(denial: &Denial) -> String {
    let name = denial.policy.as_ref().map(|(name, _)| name.to_string()).unwrap_or_default();
    let limit = denial.rule.as_deref().unwrap_or_default();
    format!("The quota {name}, limit {limit}, is used up: {}", denial.detail.as_deref().unwrap_or_default())
}

/// Records that an allowance is used up, and says so with the headers that clients read.
pub(crate) fn exceeded(exchange: &Exchange, dialect: Dialect, exceeded: &Exceeded) -> Response {
    let mut response = denied(exchange, dialect, &exceeded.denial);
    limits(dialect, exceeded, response.headers_mut());
    response
}

/// The headers of a limit.
fn limits(dialect: Dialect, exceeded: &Exceeded, headers: &mut HeaderMap) {
    let mut put = |name: String, value: String| {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value))
        {
            headers.insert(name, value);
        }
    };
    let unit = exceeded.unit;
    let prefix = match dialect {
        Dialect::Messages => format!("anthropic-ratelimit-{unit}-"),
        Dialect::Chat | Dialect::Responses => "x-ratelimit-".to_owned(),
    };
    let name = |what: &str| match dialect {
        Dialect::Messages => format!("{prefix}{what}"),
        Dialect::Chat | Dialect::Responses => format!("{prefix}{what}-{unit}"),
    };
    put(name("limit"), exceeded.most.to_string());
    put(name("remaining"), exceeded.left.to_string());
    match exceeded.resets_in {
        Some(millis) => {
            let seconds = millis.div_ceil(1000).max(1);
            put("retry-after".to_owned(), seconds.to_string());
            if dialect != Dialect::Messages {
                put(name("reset"), format!("{seconds}s"));
            }
        }
        // Official clients try a 429 again unless they are told not to.
        None => put("x-should-retry".to_owned(), "false".to_owned()),
    }
}

/// The answer to who asks for a model that nobody has.
pub(crate) fn unknown_model(exchange: &Exchange, dialect: Dialect, model: &str) -> Response {
    let shown: String = model.chars().filter(|letter| !letter.is_control()).collect();
    exchange.trail.failed("no provider has the model");
    let mut said = Said::new(StatusCode::NOT_FOUND, format!("The model {shown:?} does not exist here"));
    said.code = Some("model_not_found".to_owned());
    said.param = Some("model".to_owned());
    response(dialect, &said, None)
}

/// Whose fault a status is: with these the request itself is at fault, and another provider would say the same.
pub(crate) fn is_of_the_request(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PAYMENT_REQUIRED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

/// What a provider says of an error, as much as a caller should see: its message, bounded, without our key.
pub(crate) fn of_provider(status: StatusCode, body: &[u8], key: Option<&str>) -> Said {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = body.get("error").unwrap_or(&body);
    let text = |field: &str| error.get(field).and_then(Value::as_str).map(|text| shown(text, key));
    let message = text("message").unwrap_or_else(|| {
        status.canonical_reason().unwrap_or("The provider refused the request").to_owned()
    });
    Said { status, message, code: text("code"), param: text("param") }
}

/// A text of a provider, bounded and without our key.
pub(crate) fn shown(text: &str, key: Option<&str>) -> String {
    let text = match key.map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => text.replace(key, "(hidden)"),
        None => text.to_owned(),
    };
    text.chars().filter(|letter| !letter.is_control() || *letter == '\n').take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_says_is_bounded_and_without_our_key() {
        let body = json!({"error": {"message": format!("Bearer sk-canary is wrong {}", "x".repeat(5000)), "code": "bad sk-canary"}});
        let said = of_provider(StatusCode::BAD_REQUEST, body.to_string().as_bytes(), Some("sk-canary\n"));
        assert!(said.message.starts_with("Bearer (hidden) is wrong"));
        assert_eq!(said.message.chars().count(), SHOWN_MAX);
        assert_eq!(said.code.as_deref(), Some("bad (hidden)"));
        let said = of_provider(StatusCode::BAD_REQUEST, b"<html>sk-canary</html>", Some("sk-canary"));
        assert_eq!(said.message, "Bad Request");
    }

    #[test]
    fn a_limit_is_said_in_the_headers_of_each_api() {
        let exceeded = |resets_in| Exceeded {
            denial: Denial::plain(Reason::QuotaExceeded, ""),
            most: 100,
            left: 7,
            resets_in,
            unit: "tokens",
        };
        let headers = |dialect, resets_in| {
            let mut headers = HeaderMap::new();
            limits(dialect, &exceeded(resets_in), &mut headers);
            headers
        };
        let openai = headers(Dialect::Chat, Some(1_001));
        assert_eq!(openai["retry-after"], "2");
        assert_eq!(openai["x-ratelimit-limit-tokens"], "100");
        assert_eq!(openai["x-ratelimit-remaining-tokens"], "7");
        assert_eq!(openai["x-ratelimit-reset-tokens"], "2s");
        assert_eq!(headers(Dialect::Messages, Some(0))["anthropic-ratelimit-tokens-limit"], "100");
        assert_eq!(headers(Dialect::Chat, None)["x-should-retry"], "false");
        assert!(!headers(Dialect::Chat, None).contains_key("retry-after"));
    }
}
