//! Headers that say again what the body says, and whether they agree.
//!
//! They are compared in every revision that carries them, also where it does not require them, because something
//! further on may go by them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use crate::{
    header::{METHOD, NAME, PARAM_PREFIX, one},
    message::{Kind, Message},
    rejection::Rejection,
    revision::{Era, Revision},
};

/// Compares what headers repeat with the body.
pub(crate) fn check(revision: Revision, message: &Message, headers: &HeaderMap) -> Result<(), Rejection> {
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
    use http::{HeaderValue, Method};

    use super::*;
    use crate::{
        head::Head,
        rejection::{HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, UNSUPPORTED_VERSION},
    };

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
    fn attack_header_versus_body_one_version() {
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
    fn attack_header_versus_body_one_method_and_name() {
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
    fn attack_header_versus_body_a_repeated_argument_is_there() {
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
