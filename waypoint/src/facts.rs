//! Reads the facts of a request from its head, in one canonical form.
//!
//! What is matched, judged and sent on is the same text: the request is rewritten to the canonical form, and what
//! two readers could read differently is refused.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use exchange::{Body, Request};
use http::{
    HeaderMap, HeaderValue, Method, Uri, Version, header,
    uri::{Authority, PathAndQuery},
};
use mesh::{Denial, Reason, facts::HttpFacts};

/// Longest path and query, in bytes.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Most header fields of a request.
pub const HEADERS_MAX: usize = 128;

fn malformed(what: &'static str) -> Denial {
    Denial::plain(Reason::Malformed, what)
}

/// Brings a request into canonical form and reads its facts: the path normalised (RFC 3986, section 6.2.2), the host
/// in `Host` and nowhere else.
///
/// # Errors
/// When it can be read in more than one way, or is larger than allowed.
pub fn read(request: &mut Request) -> Result<HttpFacts, Denial> {
    if request.method() == Method::CONNECT {
        return Err(malformed("CONNECT is not served here"));
    }
    if request.headers().len() > HEADERS_MAX {
        return Err(Denial::plain(Reason::TooMuch, "the request has too many header fields"));
    }
    framing(request)?;
    let authority = authority(request)?;
    let host = host_of(&authority)?;
    let target = request.uri().path_and_query();
    if target.is_some_and(|target| target.as_str().len() > TARGET_BYTES_MAX) {
        return Err(Denial::plain(Reason::TooMuch, "the path and query are too long"));
    }
    let path = match request.uri().path() {
        "*" if request.method() == Method::OPTIONS => Cow::Borrowed("*"),
        // An absolute form without path (RFC 9112, section 3.2.2).
        "" => Cow::Borrowed("/"),
        path => normalise(path).map_err(malformed)?,
    };
    let text = match request.uri().query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(&*path),
    };
    let target: PathAndQuery = text.parse().map_err(|_| malformed("the path cannot be read"))?;
    let facts = HttpFacts {
        method: request.method().as_str().into(),
        path: Arc::from(&*path),
        host: host.into(),
        headers: headers(request.headers())?,
    };
    *request.uri_mut() = Uri::from(target);
    let value = HeaderValue::from_str(&authority).map_err(|_| malformed("the host cannot be read"))?;
    request.headers_mut().insert(header::HOST, value);
    Ok(facts)
}

/// What says where a message ends must say it once.
fn framing(request: &http::Request<Body>) -> Result<(), Denial> {
    let headers = request.headers();
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    if coded && headers.contains_key(header::CONTENT_LENGTH) {
        return Err(malformed("the request has both Content-Length and Transfer-Encoding"));
    }
    // RFC 9112, section 6.1: before HTTP/1.1 there is no Transfer-Encoding.
    if coded && request.version() < Version::HTTP_11 {
        return Err(malformed("the request has a Transfer-Encoding that its version does not know"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if lengths.next().is_some() && lengths.next().is_some() {
        return Err(malformed("the request has more than one Content-Length"));
    }
    Ok(())
}

/// The one authority that the request names.
fn authority(request: &Request) -> Result<String, Denial> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str).transpose();
    let host = host.map_err(|_| malformed("the Host cannot be read"))?;
    if hosts.next().is_some() {
        return Err(malformed("the request has more than one Host"));
    }
    let named = request.uri().authority().map(Authority::as_str);
    match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => {
            Err(malformed("the request names two hosts"))
        }
        (Some(one), _) | (None, Some(one)) if !one.is_empty() => Ok(one.to_ascii_lowercase()),
        _ => Err(malformed("the request names no host")),
    }
}

/// The host of an authority, without port and final dot.
fn host_of(authority: &str) -> Result<&str, Denial> {
    let bad = || malformed("the host cannot be read");
    if authority.contains('@') {
        return Err(bad());
    }
    let parsed: Authority = authority.parse().map_err(|_| bad())?;
    let length = parsed.host().len();
    let port = authority[length..].strip_prefix(':');
    if port.is_some_and(|port| port.parse::<u16>().is_err()) || (port.is_none() && length < authority.len()) {
        return Err(bad());
    }
    let host = authority[..length].trim_end_matches('.');
    if host.is_empty() { Err(bad()) } else { Ok(host) }
}

/// Headers by name; several values of one name are joined as HTTP joins them (RFC 9110, section 5.3; cookies: RFC
/// 9113, section 8.2.3), so that no way of splitting them is read differently.
fn headers(headers: &HeaderMap) -> Result<BTreeMap<Arc<str>, Arc<str>>, Denial> {
    let mut facts = BTreeMap::new();
    for name in headers.keys().filter(|name| *name != header::HOST) {
        let glue = if name == header::COOKIE { "; " } else { ", " };
        let mut joined = String::new();
        for value in headers.get_all(name) {
            let value =
                std::str::from_utf8(value.as_bytes()).map_err(|_| malformed("a header is not UTF-8"))?;
            if !joined.is_empty() {
                joined.push_str(glue);
            }
            joined.push_str(value);
        }
        facts.insert(name.as_str().into(), joined.into());
    }
    Ok(facts)
}

/// The canonical form of a path: escapes of unreserved characters undone, others in upper case, dot segments and
/// empty segments removed. Escaped slashes, backslashes and control characters have no canonical form.
fn normalise(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if !path.starts_with('/') {
        return Err("the path does not begin with a slash");
    }
    let decoded = unescape(path)?;
    let simple = !decoded.contains("//") && !decoded.contains("/.");
    if simple {
        return Ok(decoded);
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop().ok_or("the path leads above the root")?;
            }
            segment => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(decoded.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    let open = matches!(decoded.rsplit('/').next(), Some("" | "." | ".."));
    if out.is_empty() || open {
        out.push('/');
    }
    Ok(Cow::Owned(out))
}

fn unescape(path: &str) -> Result<Cow<'_, str>, &'static str> {
    const REFUSED: &str = "the path has an escaped slash, backslash or control character";
    let never = |byte: u8| byte <= b' ' || byte >= 0x7f || b"\\<>`#?".contains(&byte);
    if path.bytes().any(never) {
        return Err("the path has a character that no path may have");
    }
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err("the path has an escape that is none");
        };
        let code = u8::try_from(high * 16 + low).map_err(|_| "the path has an escape that is none")?;
        match code {
            b'/' | b'\\' | 0..=0x1f | 0x7f => return Err(REFUSED),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(code)),
            _ => out.push_str(&format!("%{code:02X}")),
        }
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (path, expected) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a//b", Ok("/a/b")),
            ("//", Ok("/")),
            ("/a/./b/", Ok("/a/b/")),
            ("/a/../b", Ok("/b")),
            ("/a/..", Ok("/")),
            ("/a/b/..", Ok("/a/")),
            ("/a/%2e%2e/b", Ok("/b")),
            ("/%61dmin", Ok("/admin")),
            ("/a%c3%a9", Ok("/a%C3%A9")),
            ("/.hidden/x", Ok("/.hidden/x")),
            ("/a;x=1/b", Ok("/a;x=1/b")),
            ("/..", Err(())),
            ("/a/../../b", Err(())),
            ("/a%2fb", Err(())),
            ("/a%5cb", Err(())),
            ("/a\\b", Err(())),
            ("/a%00", Err(())),
            ("/a%0a", Err(())),
            ("/a%", Err(())),
            ("/a%zz", Err(())),
            ("a", Err(())),
            ("/é", Err(())),
            ("/<", Err(())),
            ("/a>", Err(())),
            ("/`", Err(())),
            ("/a#b", Err(())),
        ] {
            assert_eq!(normalise(path).as_deref().map_err(|_| ()), expected, "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_form_that_is_canonical_stays_as_it_is(path in "(/|%2e|%2E|%41|%2f|%|\\\\|\\.|a|;|\\PC){0,12}") {
            if let Ok(once) = normalise(&path) {
                let twice = normalise(&once);
                proptest::prop_assert_eq!(twice.as_deref(), Ok(&*once));
                // What is canonical is a path, and leads nowhere by steps.
                proptest::prop_assert!(once.parse::<PathAndQuery>().is_ok());
                proptest::prop_assert!(!once.split('/').skip(1).any(|segment| segment == "." || segment == ".."));
            }
        }
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut builder = http::Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(Body::empty()).unwrap()
    }

    #[test]
    fn a_request_names_one_host() {
        for (uri, hosts, expected) in [
            ("/", &["Shop.Example:80"][..], Some("shop.example")),
            ("/", &["shop.example."], Some("shop.example")),
            ("/", &["[::1]:80"], Some("[::1]")),
            ("http://a.com/", &[], Some("a.com")),
            ("http://a.com/", &["A.com"], Some("a.com")),
            ("http://a.com/", &["b.com"], None),
            ("/", &[], None),
            ("/", &["a.com", "a.com"], None),
            ("/", &["u@a.com"], None),
            ("/", &["a.com:x"], None),
            ("/", &["a.com:99999"], None),
            ("/", &["."], None),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let facts = read(&mut request(uri, &headers));
            assert_eq!(facts.as_ref().ok().map(|facts| &*facts.host), expected, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn what_ends_in_two_places_is_refused() {
        let host = ("host", "a");
        assert!(
            read(&mut request("/", &[host, ("content-length", "1"), ("transfer-encoding", "chunked")]))
                .is_err()
        );
        assert!(read(&mut request("/", &[host, ("content-length", "1"), ("content-length", "1")])).is_err());
        assert!(read(&mut request("/", &[host, ("content-length", "1")])).is_ok());
    }

    #[test]
    fn headers_read_the_same_however_they_are_split() {
        let one = read(&mut request("/", &[("host", "a"), ("x", "1, 2")])).unwrap();
        let two = read(&mut request("/", &[("host", "a"), ("x", "1"), ("x", "2")])).unwrap();
        assert_eq!(one, two);
        let cookies =
            read(&mut request("/", &[("host", "a"), ("cookie", "a=1"), ("cookie", "b=2")])).unwrap();
        assert_eq!(&*cookies.headers["cookie"], "a=1; b=2");
    }

    #[test]
    fn what_is_sent_on_is_what_was_judged() {
        let mut request = request("http://A.com/x/../%61?q=%2F", &[]);
        let facts = read(&mut request).unwrap();
        assert_eq!(request.uri(), "/a?q=%2F");
        assert_eq!(request.headers()["host"], "a.com");
        assert_eq!(&*facts.path, "/a");
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let path = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert!(read(&mut request(&path(TARGET_BYTES_MAX), &[("host", "a")])).is_ok());
        assert!(read(&mut request(&path(TARGET_BYTES_MAX + 1), &[("host", "a")])).is_err());
        let many = |count: usize| {
            let mut request = request("/", &[("host", "a")]);
            for index in 1..count {
                let name = http::HeaderName::from_bytes(format!("x-{index}").as_bytes()).unwrap();
                request.headers_mut().insert(name, HeaderValue::from_static("1"));
            }
            read(&mut request)
        };
        assert!(many(HEADERS_MAX).is_ok());
        assert!(many(HEADERS_MAX + 1).is_err());
    }
}
