//! What the head of a request says, and whether the body agrees.
//!
//! Nothing is decided by a header. Headers that repeat the body are compared with it, in every revision, because
//! something further on may go by them.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use serde_json::Value;

use crate::{
    message::{Kind, Message, NAME_MAX},
    rejection::{INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, Rejection},
    revision::{Era, Revision},
};

/// The version of the protocol.
pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The session, in revisions that have them.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The method, repeated.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The name or URI, repeated.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Where a stream is to be resumed.
pub const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// How long a header value may be, in bytes: room for a name of `NAME_MAX` in base64, or a session token.
pub const VALUE_MAX: usize = 2 * NAME_MAX;
/// What the names of headers that repeat an argument begin with.
pub const PARAM_PREFIX: &str = "mcp-param-";

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
        Ok(Self { verb, version, session: one(headers, &SESSION)?.map(Arc::from) })
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
        check_repeats(revision, message, headers).map_err(rejected)?;
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

/// The one value of a header.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Rejection> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Rejection::mismatch(format!("{name} stands twice")));
    }
    let text = value.to_str().ok().filter(|text| text.len() <= VALUE_MAX);
    text.map(Some)
        .ok_or_else(|| Rejection::mismatch(format!("{name} has characters that are not allowed there")))
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

/// Compares what headers repeat with the body.
fn check_repeats(revision: Revision, message: &Message, headers: &HeaderMap) -> Result<(), Rejection> {
    let required = revision.era() == Era::Stateless && matches!(message.kind, Kind::Request(_));
    let method = message.method_name();
    match one(headers, &METHOD)? {
        None if required => return Err(Rejection::mismatch("Mcp-Method is missing")),
        Some(said) if said != method => {
            return Err(Rejection::mismatch("Mcp-Method differs from the method in the body"));
        }
        _ => {}
    }
    let name = one(headers, &NAME)?.map(|said| decode(said, &NAME)).transpose()?;
    let names = |said: &str| match method {
        "tools/call" | "prompts/get" => message.param("name") == Some(said),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            message.param("uri") == Some(said)
        }
        // What extensions call a name is theirs, but it stands in the parameters.
        _ => message.params.values().any(|value| value.as_str() == Some(said)),
    };
    match &name {
        None if required && matches!(method, "tools/call" | "prompts/get" | "resources/read") => {
            return Err(Rejection::mismatch("Mcp-Name is missing"));
        }
        Some(said) if !names(said) => {
            return Err(Rejection::mismatch("Mcp-Name differs from the name in the body"));
        }
        _ => {}
    }
    check_params(message, headers)
}

/// A header that repeats an argument. Which one is said by the tool's schema, which is not held here; but a caller
/// that keeps to the protocol repeats only what is there.
fn check_params(message: &Message, headers: &HeaderMap) -> Result<(), Rejection> {
    for name in headers.keys().filter(|name| name.as_str().starts_with(PARAM_PREFIX)) {
        let Some(said) = one(headers, name)? else { continue };
        let said = decode(said, name)?;
        if !message.arguments.as_deref().is_some_and(|arguments| holds(arguments, &said)) {
            return Err(Rejection::mismatch(format!("{name} repeats no argument of the body")));
        }
    }
    Ok(())
}

// Its depth is bounded: `json` read it.
fn holds(value: &Value, said: &str) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => said == if *value { "true" } else { "false" },
        Value::Number(value) => said.parse().ok() == value.as_f64(),
        Value::String(value) => value == said,
        Value::Array(items) => items.iter().any(|item| holds(item, said)),
        Value::Object(fields) => fields.values().any(|field| holds(field, said)),
    }
}

/// A header value as it is meant: as it stands, or from base64 between `=?base64?` and `?=`.
fn decode(said: &str, name: &HeaderName) -> Result<String, Rejection> {
    let Some(encoded) = said.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(said.to_owned());
    };
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Rejection::mismatch(format!("{name} is not base64 of a text")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::rejection::{HEADER_MISMATCH, UNSUPPORTED_VERSION};

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
    fn pages_of_elsewhere_are_refused() {
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

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search",
        "arguments":{"repo":"docs","n":42,"deep":{"on":true}},
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    const OLD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}}"#;
    const NEW: [(&str, &str); 3] =
        [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "search")];

    #[track_caller]
    fn agree(body: &str, extra: &[(&str, &str)], expected: Result<Revision, i64>) {
        let message = Message::parse(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        let mut all = POST.to_vec();
        all.extend_from_slice(extra);
        let headers = headers(&all);
        let got = Head::parse(&Method::POST, None, &headers).and_then(|head| head.agree(&message, &headers));
        assert_eq!(got.map_err(|rejection| rejection.code), expected, "{extra:?}");
    }

    #[test]
    fn head_and_body_say_one_version() {
        agree(CALL, &NEW, Ok(Revision::V2026_07_28));
        agree(CALL, &NEW[1..], Err(HEADER_MISMATCH));
        agree(CALL, &[("mcp-protocol-version", "2025-11-25")], Err(HEADER_MISMATCH));
        agree(OLD, &NEW, Err(INVALID_PARAMS));
        agree(OLD, &[("mcp-protocol-version", "2025-11-25")], Ok(Revision::V2025_11_25));
        agree(OLD, &[], Ok(Revision::UNSAID));
        agree(OLD, &[("mcp-protocol-version", "2099-01-01")], Err(UNSUPPORTED_VERSION));
        agree(CALL, &[NEW[0], NEW[0], NEW[1], NEW[2]], Err(HEADER_MISMATCH));
    }

    #[test]
    fn the_newest_repeats_method_and_name() {
        agree(CALL, &[NEW[0], NEW[1]], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], NEW[2]], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], NEW[1], ("mcp-name", "write")], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], NEW[1], ("mcp-name", "Search")], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], ("mcp-method", "tools/list"), NEW[2]], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], NEW[1], ("mcp-name", "=?base64?c2VhcmNo?=")], Ok(Revision::V2026_07_28));
        agree(CALL, &[NEW[0], NEW[1], ("mcp-name", "=?base64?c2VhcmNo=?=")], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], NEW[1], ("mcp-name", "=?base64?//8=?=")], Err(HEADER_MISMATCH));
        agree(CALL, &[NEW[0], NEW[1], NEW[2], NEW[2]], Err(HEADER_MISMATCH));
    }

    #[test]
    fn older_ones_may_not_contradict_either() {
        agree(OLD, &[("mcp-method", "tools/list")], Err(HEADER_MISMATCH));
        agree(OLD, &[("mcp-name", "write")], Err(HEADER_MISMATCH));
        agree(OLD, &[NEW[1], NEW[2]], Ok(Revision::UNSAID));
    }

    #[test]
    fn a_repeated_argument_is_there() {
        let with = |name, value| [NEW[0], NEW[1], NEW[2], (name, value)];
        agree(CALL, &with("mcp-param-repo", "docs"), Ok(Revision::V2026_07_28));
        agree(CALL, &with("mcp-param-repo", "=?base64?ZG9jcw==?="), Ok(Revision::V2026_07_28));
        agree(CALL, &with("mcp-param-n", "42.0"), Ok(Revision::V2026_07_28));
        agree(CALL, &with("mcp-param-on", "true"), Ok(Revision::V2026_07_28));
        agree(CALL, &with("mcp-param-repo", "web"), Err(HEADER_MISMATCH));
        agree(CALL, &with("mcp-param-repo", "=?base64?!?="), Err(HEADER_MISMATCH));
    }

    #[test]
    fn callers_of_the_newest_send_no_responses() {
        let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        agree(response, &NEW[..1], Err(INVALID_REQUEST));
        agree(response, &[], Ok(Revision::UNSAID));
    }
}
