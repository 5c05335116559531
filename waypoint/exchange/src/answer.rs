//! The one door from a refusal or failure to a response.
//!
//! HTTP: a status and `x-strait-denied: id=…; reason=…`. gRPC: status 200 and trailers only, with the same. Protocols
//! with an error shape of their own (MCP) ask for the id by [`Exchange::refused`] and say it their way.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use mesh::{Denial, Reason};

use crate::{Body, CallError, Exchange, Response};

/// The header that names a refusal.
pub const DENIED: HeaderName = HeaderName::from_static("x-strait-denied");

/// How the caller wants to be told of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// By HTTP status.
    Http,
    /// By gRPC status.
    Grpc,
}

impl Convention {
    /// The convention of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "application/grpc" || kind.starts_with("application/grpc+") {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// The status by which HTTP says a denial.
pub fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoRoute | Reason::UnknownDestination | Reason::UnknownPort => StatusCode::NOT_FOUND,
        Reason::RouteBroken => StatusCode::INTERNAL_SERVER_ERROR,
        Reason::BackendBroken
        | Reason::NoEndpoint
        | Reason::NoGateway
        | Reason::Unreachable
        | Reason::DeliveryFailed
        | Reason::ControlPlaneSilent
        | Reason::WaypointMissing
        | Reason::NoCertificate
        | Reason::HandshakeFailed
        | Reason::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Reason::Malformed => StatusCode::BAD_REQUEST,
        Reason::TooMuch => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::NotBuilt => StatusCode::NOT_IMPLEMENTED,
        Reason::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
        Reason::UserMissing | Reason::UserInvalid => StatusCode::UNAUTHORIZED,
        Reason::ProviderFailed => StatusCode::BAD_GATEWAY,
        Reason::NotTranslatable => StatusCode::BAD_REQUEST,
        Reason::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        // Everything else is somebody's decision, and so is what is added later and not named here.
        _ => StatusCode::FORBIDDEN,
    }
}

/// Records a denial and answers with it.
pub fn denial(exchange: &Exchange, convention: Convention, denial: &Denial) -> Response {
    let id = exchange.refused(denial);
    refusal(convention, denial, &id)
}

/// Answers with a denial that has been recorded under this id.
pub fn refusal(convention: Convention, denial: &Denial, id: &Arc<str>) -> Response {
    plain(convention, status_of(denial.reason), Some((denial.reason, id)), denial.reason.name())
}

/// Answers a call that has no answer.
pub fn failure(exchange: &Exchange, convention: Convention, error: &CallError) -> Response {
    let named = error.denial().map(|denial| (denial.reason, exchange.refused(denial)));
    if named.is_none() {
        exchange.trail.failed(error);
    }
    // What went wrong inside is for the log; the caller learns only which kind of failure it was.
    let text = error.status().canonical_reason().unwrap_or("failed");
    plain(convention, error.status(), named.as_ref().map(|(reason, id)| (*reason, id)), text)
}

/// An answer with a status and a short text, in the caller's convention.
pub fn plain(
    convention: Convention,
    status: StatusCode,
    refused: Option<(Reason, &Arc<str>)>,
    text: &str,
) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    if let Some((reason, id)) = refused
        && let Ok(value) = HeaderValue::from_str(&format!("id={id}; reason={reason}"))
    {
        headers.insert(DENIED, value);
    }
    match convention {
        Convention::Http => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            *response.body_mut() = Body::held_bytes(format!("{text}\n"));
            *response.status_mut() = status;
        }
        Convention::Grpc => {
            // Trailers-Only (gRPC over HTTP/2, "Responses"): the status stands in the one header block.
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(grpc_status(status)),
            );
            if let Ok(value) = HeaderValue::from_str(&grpc_message(text)) {
                headers.insert(HeaderName::from_static("grpc-message"), value);
            }
        }
    }
    response
}

/// The gRPC status for an HTTP status, as a proxy says it itself.
fn grpc_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::FORBIDDEN => "7",                                // PERMISSION_DENIED
        StatusCode::UNAUTHORIZED => "16",                            // UNAUTHENTICATED
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => "12", // UNIMPLEMENTED
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => "4", // DEADLINE_EXCEEDED
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => "8", // RESOURCE_EXHAUSTED
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => "14", // UNAVAILABLE
        StatusCode::BAD_REQUEST => "13",                             // INTERNAL
        _ => "2",                                                    // UNKNOWN
    }
}

/// `grpc-message` is percent-encoded outside printable ASCII.
fn grpc_message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
