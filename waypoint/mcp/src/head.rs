//! What the head of a request says, and whether the body agrees.
//!
//! Nothing is decided by a header; `repeats` compares those that say again what the body says.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode, header};

pub use crate::header::{LAST_EVENT, METHOD, NAME, PARAM_PREFIX, SESSION, VALUE_MAX, VERSION};
use crate::{
    header::one,
    message::{Kind, Message},
    rejection::{INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Rejection},
    repeats,
    revision::{Era, Revision},
};

/// What a request asks of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// To take a message.
    Post,
    /// To stream what the server has to say.
    Get,
    /// To end a session.
    Delete,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What it asks.
    pub verb: Verb,
    /// The version that it says, known or not.
    pub version: Option<Arc<str>>,
    /// The session that it names.
    pub session: Option<Arc<str>>,
    /// Where a stream is to be resumed.
    pub last_event: Option<Arc<str>>,
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// When a header is missing, stands twice, or cannot be taken.
    pub fn parse(method: &Method, authority: Option<&str>, headers: &HeaderMap) -> Result<Self, Rejection> {
        let verb = match *method {
            Method::POST => Verb::Post,
            Method::GET => Verb::Get,
            Method::DELETE => Verb::Delete,
            _ => return Err(bare(StatusCode::METHOD_NOT_ALLOWED, "POST, GET and DELETE are served here")),
        };
        check_origin(authority, headers)?;
        for name in [&header::CONTENT_TYPE, &VERSION, &SESSION, &METHOD, &NAME, &LAST_EVENT] {
            one(headers, name)?;
        }
        let version = one(headers, &VERSION)?.map(Arc::<str>::from);
        if verb != Verb::Post
            && let Some(said) = &version
            && known(said)?.era() == Era::Stateless
        {
            return Err(bare(StatusCode::METHOD_NOT_ALLOWED, "Only POST is part of this revision"));
        }
        check_types(verb, headers)?;
        let session = one(headers, &SESSION)?.map(Arc::from);
        Ok(Self { verb, version, session, last_event: one(headers, &LAST_EVENT)?.map(Arc::from) })
    }

    /// The revision of a message under this head, once both agree on it.
    ///
    /// # Errors
    /// When head and body disagree.
    pub fn agree(&self, message: &Message, headers: &HeaderMap) -> Result<Revision, Rejection> {
        let rejected = |rejection: Rejection| rejection.of(message.request_id().cloned());
        let revision = self.revision(message).map_err(rejected)?;
        if revision.era() == Era::Stateless && matches!(message.kind, Kind::Response(_)) {
            return Err(bare(StatusCode::BAD_REQUEST, "Callers send no responses in this revision"));
        }
        repeats::check(revision, message, headers).map_err(rejected)?;
        Ok(revision)
    }

    /// The revision of a request without a message.
    pub(crate) fn alone(&self) -> Result<Revision, Rejection> {
        self.version.as_deref().map_or(Ok(Revision::UNSAID), known)
    }

    fn revision(&self, message: &Message) -> Result<Revision, Rejection> {
        let body = message.version()?;
        if let (Some(head), Some(body)) = (&self.version, body)
            && **head != *body
        {
            return Err(Rejection::mismatch("MCP-Protocol-Version differs from the version in the body"));
        }
        let revision = self.version.as_deref().or(body).map_or(Ok(Revision::UNSAID), known)?;
        if revision.era() == Era::Stateless {
            if self.version.is_none() {
                return Err(Rejection::mismatch("MCP-Protocol-Version is missing"));
            }
            if body.is_none() && matches!(message.kind, Kind::Request(_)) {
                let text = "The request does not say its protocol version in _meta";
                return Err(Rejection::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, text));
            }
        }
        Ok(revision)
    }
}

/// What an unknown revision means is not known, so nothing is served by it.
fn known(said: &str) -> Result<Revision, Rejection> {
    Revision::from_name(said).ok_or_else(|| Rejection::unsupported(said))
}

fn bare(status: StatusCode, message: &str) -> Rejection {
    let code = if status == StatusCode::METHOD_NOT_ALLOWED { METHOD_NOT_FOUND } else { INVALID_REQUEST };
    Rejection::new(status, code, message)
}

/// A browser says where a page came from. Pages of elsewhere have no business here: their host name may have been
/// pointed at us ("DNS rebinding"), so only a page of the very host that is asked passes.
fn check_origin(authority: Option<&str>, headers: &HeaderMap) -> Result<(), Rejection> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let forbidden = || bare(StatusCode::FORBIDDEN, "The origin is not allowed");
    let origin = origin.to_str().map_err(|_| forbidden())?;
    let (scheme, host) = origin.split_once("://").ok_or_else(forbidden)?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(forbidden()),
    };
    let same = authority.is_some_and(|authority| {
        let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
        bare(authority) == bare(host)
    });
    if same && origins.next().is_none() { Ok(()) } else { Err(forbidden()) }
}

fn check_types(verb: Verb, headers: &HeaderMap) -> Result<(), Rejection> {
    if verb == Verb::Post && !is_json(headers) {
        return Err(bare(StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body is not application/json"));
    }
    let accepted = match verb {
        Verb::Post => accepts(headers, "application/json") || accepts(headers, "text/event-stream"),
        Verb::Get => accepts(headers, "text/event-stream"),
        Verb::Delete => true,
    };
    if accepted {
        Ok(())
    } else {
        Err(bare(StatusCode::NOT_ACCEPTABLE, "No answer that would be accepted exists"))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    // JSON is UTF-8 (RFC 8259, section 8.1). Who says otherwise would be read otherwise.
    json && parts.all(|part| match part.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let mut ranges = headers.get_all(header::ACCEPT).iter().peekable();
    if ranges.peek().is_none() {
        return true;
    }
    let (main, _) = kind.split_once('/').unwrap_or((kind, ""));
    ranges.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused =
            parts.any(|part| matches!(part.split_once('='), Some(("q" | "Q", weight)) if zero(weight)));
        !refused && (essence == kind || essence == "*/*" || essence.strip_suffix("/*") == Some(main))
    })
}

fn zero(weight: &str) -> bool {
    weight.trim().parse::<f32>().is_ok_and(|weight| weight <= 0.0)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    const POST: [(&str, &str); 2] =
        [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

    #[track_caller]
    fn head(method: Method, extra: &[(&str, &str)], expected: Result<(), StatusCode>) {
        let parsed = Head::parse(&method, Some("tools.shop:80"), &headers(extra));
        assert_eq!(parsed.map(|_| ()).map_err(|rejection| rejection.status), expected, "{method} {extra:?}");
    }

    #[test]
    fn only_json_is_taken() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            head(Method::POST, &[("content-type", good)], Ok(()));
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=utf-16",
            "application/jsonx",
            "application/x-www-form-urlencoded",
        ] {
            head(Method::POST, &[("content-type", bad)], Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        head(Method::POST, &[], Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        head(Method::POST, &[POST[0], POST[0]], Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn an_answer_must_be_acceptable() {
        let json = ("content-type", "application/json");
        for good in
            ["*/*", "application/json", "text/event-stream", "text/*", "text/html, application/json;q=0.1"]
        {
            head(Method::POST, &[json, ("accept", good)], Ok(()));
        }
        for bad in ["text/html", "application/json;q=0", "image/*"] {
            head(Method::POST, &[json, ("accept", bad)], Err(StatusCode::NOT_ACCEPTABLE));
        }
        head(Method::GET, &[("accept", "text/event-stream")], Ok(()));
        head(Method::GET, &[("accept", "application/json")], Err(StatusCode::NOT_ACCEPTABLE));
    }

    #[test]
    fn other_methods_are_not_allowed() {
        for method in [Method::PUT, Method::OPTIONS, Method::PATCH, Method::HEAD] {
            head(method, &POST, Err(StatusCode::METHOD_NOT_ALLOWED));
        }
        let newest = ("mcp-protocol-version", "2026-07-28");
        head(Method::GET, &[("accept", "text/event-stream"), newest], Err(StatusCode::METHOD_NOT_ALLOWED));
        head(Method::DELETE, &[newest], Err(StatusCode::METHOD_NOT_ALLOWED));
        head(Method::DELETE, &[("mcp-protocol-version", "2025-11-25")], Ok(()));
        head(Method::DELETE, &[("mcp-protocol-version", "2099-01-01")], Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn attack_dns_rebinding_pages_of_elsewhere_are_refused() {
        let with = |origin| [POST[0], ("origin", origin)];
        for good in ["http://tools.shop", "http://tools.shop:80", "http://TOOLS.shop"] {
            head(Method::POST, &with(good), Ok(()));
        }
        for bad in [
            "null",
            "",
            "http://evil.example",
            "http://tools.shop.evil.example",
            "http://tools.shop:81",
            "https://tools.shop",
            "http://tools.shop@evil.example",
            "file://tools.shop",
        ] {
            head(Method::POST, &with(bad), Err(StatusCode::FORBIDDEN));
        }
        let twice = [POST[0], ("origin", "http://tools.shop"), ("origin", "http://tools.shop")];
        head(Method::POST, &twice, Err(StatusCode::FORBIDDEN));
    }
}
