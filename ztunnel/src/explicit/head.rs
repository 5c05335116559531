//! One HTTP request head, read strictly (RFC 9112) and rewritten for the server.
//!
//! Every `Proxy-*` and hop-by-hop field is dropped. What could be read in two ways is refused.

use base64::Engine as _;

use super::{HEADER_FIELDS_MAX, Target, host};

/// A request head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) target: Target,
    pub(super) token: Option<String>,
    pub(super) is_connect: bool,
    /// The head for the server, in origin form; nothing for CONNECT.
    pub(super) forward: Vec<u8>,
}

/// Why it is no request that is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadFault {
    #[error("the request head is not HTTP/1.1")]
    Line,
    #[error(
        "a proxy is asked by CONNECT HOST:PORT, or by a URL that begins with http://; for https use CONNECT"
    )]
    Form,
    #[error("the host or port in the request is not one")]
    Host,
    #[error("a header field is malformed")]
    Field,
    #[error("there are more than {HEADER_FIELDS_MAX} header fields")]
    Fields,
    #[error("the length of the request's body is ambiguous")]
    Length,
    #[error("there are several Proxy-Authorization fields")]
    Authorization,
}

/// Where the head ends, if it does: after the empty line.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a whole head.
pub(super) fn parse(bytes: &[u8]) -> Result<Head, HeadFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| HeadFault::Line)?;
    let text = text.strip_suffix("\r\n\r\n").ok_or(HeadFault::Line)?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().ok_or(HeadFault::Line)?.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(HeadFault::Line);
    };
    if !is_token(method) || !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(HeadFault::Line);
    }
    let mut fields = Vec::new();
    for line in lines {
        if fields.len() == HEADER_FIELDS_MAX {
            return Err(HeadFault::Fields);
        }
        let (name, value) = line.split_once(':').ok_or(HeadFault::Field)?;
        let value = value.trim_matches([' ', '\t']);
        // A bare CR, NUL or other control character may end a line for somebody else.
        if !is_token(name) || value.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
            return Err(HeadFault::Field);
        }
        fields.push((name, value));
    }
    let token = token(&fields)?;
    if method == "CONNECT" {
        let target = host::parse(target, None).ok_or(HeadFault::Host)?;
        return Ok(Head { target, token, is_connect: true, forward: Vec::new() });
    }
    let rest = strip_scheme(target).ok_or(HeadFault::Form)?;
    let split = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(split);
    let target = host::parse(authority, Some(80)).ok_or(HeadFault::Host)?;
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) || path.contains('#') {
        return Err(HeadFault::Form);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    // One request a connection: what follows the request's body is not read as a second request for elsewhere.
    let mut forward =
        format!("{method} {slash}{path} {version}\r\nHost: {authority}\r\nConnection: close\r\n");
    length(&fields)?;
    for (name, value) in kept(&fields) {
        forward.push_str(name);
        forward.push_str(": ");
        forward.push_str(value);
        forward.push_str("\r\n");
    }
    forward.push_str("\r\n");
    Ok(Head { target, token, is_connect: false, forward: forward.into_bytes() })
}

/// The fields that are for the server. `Host` is written anew from the target (RFC 9112, section 3.2.2).
fn kept<'a>(fields: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let named: Vec<&str> =
        all(fields, "connection").flat_map(|value| value.split(',').map(str::trim)).collect();
    fields.iter().copied().filter(move |(name, _)| {
        let lower = name.to_ascii_lowercase();
        // Transfer-Encoding belongs to the body, which is passed on as it is.
        let hop =
            matches!(lower.as_str(), "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "host");
        let framing = matches!(lower.as_str(), "transfer-encoding" | "content-length");
        !hop && !lower.starts_with("proxy-")
            && (framing || !named.iter().any(|one| one.eq_ignore_ascii_case(name)))
    })
}

/// A body whose length could be read in two ways is how requests are smuggled (RFC 9112, section 6.3).
fn length(fields: &[(&str, &str)]) -> Result<(), HeadFault> {
    let mut lengths = all(fields, "content-length");
    let first = lengths.next();
    let digits =
        first.is_none_or(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()));
    let mut encodings = all(fields, "transfer-encoding");
    let encoding = encodings.next();
    let chunked = encoding.is_none_or(|value| value.eq_ignore_ascii_case("chunked"));
    let one =
        lengths.next().is_none() && encodings.next().is_none() && (first.is_none() || encoding.is_none());
    if digits && chunked && one { Ok(()) } else { Err(HeadFault::Length) }
}

/// The token: the password of Basic credentials, whoever the user says that he is.
fn token(fields: &[(&str, &str)]) -> Result<Option<String>, HeadFault> {
    let mut values = all(fields, "proxy-authorization");
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(HeadFault::Authorization);
    }
    let credentials = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded =
        credentials.and_then(|(_, text)| base64::engine::general_purpose::STANDARD.decode(text.trim()).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(decoded.and_then(|pair| pair.split_once(':').map(|(_, token)| token.to_owned())))
}

fn all<'a>(fields: &'a [(&'a str, &'a str)], wanted: &'a str) -> impl Iterator<Item = &'a str> {
    fields.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value)
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    scheme.eq_ignore_ascii_case("http").then_some(rest)
}

/// A token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(head: &str) -> Result<String, HeadFault> {
        parse(head.as_bytes()).map(|head| String::from_utf8(head.forward).expect("it was text"))
    }

    #[test]
    fn a_request_is_sent_on_in_origin_form_without_what_was_for_the_proxy() {
        let said = "POST http://tools:81/mcp?x=1 HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\n\
                    Proxy-Authorization: Basic dzp0\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: 5\r\nX-Secret: 1\r\n\
                    TE: trailers\r\nUpgrade: h2c\r\nContent-Length: 2\r\nX-Kept: a, b\r\n\r\n";
        let expected = "POST /mcp?x=1 HTTP/1.1\r\nHost: tools:81\r\nConnection: close\r\nContent-Length: 2\r\nX-Kept: a, b\r\n\r\n";
        assert_eq!(forward(said).as_deref(), Ok(expected));
        assert_eq!(parse(said.as_bytes()).unwrap().token.as_deref(), Some("t"));
        let bare = forward("GET http://a?x HTTP/1.1\r\n\r\n");
        assert_eq!(bare.as_deref(), Ok("GET /?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn framing_cannot_be_dropped_by_naming_it_in_connection() {
        let said = "POST http://a/ HTTP/1.1\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\n";
        assert!(forward(said).unwrap().contains("Content-Length: 2\r\n"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (head, expected) in [
            (
                "POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                HeadFault::Length,
            ),
            ("POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", HeadFault::Length),
            ("POST http://a/ HTTP/1.1\r\nContent-Length: +1\r\n\r\n", HeadFault::Length),
            ("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n", HeadFault::Length),
            ("POST http://a/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", HeadFault::Length),
            ("GET http://a/ HTTP/1.1\r\nX : 1\r\n\r\n", HeadFault::Field),
            ("GET http://a/ HTTP/1.1\r\nX: 1\r\n folded\r\n\r\n", HeadFault::Field),
            ("GET http://a/ HTTP/1.1\r\nX: 1\rY: 2\r\n\r\n", HeadFault::Field),
            ("GET http://a/ HTTP/1.1\r\nX: a\0b\r\n\r\n", HeadFault::Field),
            ("GET  http://a/ HTTP/1.1\r\n\r\n", HeadFault::Line),
            ("GET http://a/ HTTP/2.0\r\n\r\n", HeadFault::Line),
            ("GET https://a/ HTTP/1.1\r\n\r\n", HeadFault::Form),
            ("GET /relative HTTP/1.1\r\nHost: a\r\n\r\n", HeadFault::Form),
            ("GET http://user@a/ HTTP/1.1\r\n\r\n", HeadFault::Host),
            ("CONNECT a HTTP/1.1\r\n\r\n", HeadFault::Host),
            (
                "GET http://a/ HTTP/1.1\r\nProxy-Authorization: Basic dzp0\r\nProxy-Authorization: Basic dzp0\r\n\r\n",
                HeadFault::Authorization,
            ),
        ] {
            assert_eq!(forward(head), Err(expected), "{head:?}");
        }
    }

    #[test]
    fn as_many_fields_as_the_bound_and_no_more() {
        let fields = |count: usize| format!("GET http://a/ HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(count));
        assert!(forward(&fields(HEADER_FIELDS_MAX)).is_ok());
        assert_eq!(forward(&fields(HEADER_FIELDS_MAX + 1)), Err(HeadFault::Fields));
    }
}
