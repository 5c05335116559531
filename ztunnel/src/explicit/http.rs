//! One HTTP/1.1 request head, as an HTTP proxy gets it: CONNECT, or a request in absolute form. Pure.
//!
//! Destination and token are taken from it. A request in absolute form goes on in origin form, without any field
//! that is for a proxy or for one hop. What could be read in two ways is refused.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mesh::{hop::Destination, names::Hostname};

use super::body::Body;

/// Longest head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Most fields of a head.
pub(super) const FIELDS_MAX: usize = 128;

/// Fields that are for one hop only (RFC 9110, section 7.6.1), beside those that `connection` names. What frames
/// the body stays, since the body goes on as it came.
const HOP_BY_HOP: [&str; 4] = ["connection", "keep-alive", "te", "upgrade"];

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    /// Too long, or too many fields.
    #[error("the request's head is too large")]
    TooLarge,
    /// The first line.
    #[error("the request line cannot be read")]
    Line,
    /// A field.
    #[error("a header field cannot be read")]
    Field,
    /// Neither CONNECT host:port nor http://host/…
    #[error("the target is neither host:port nor an http URI without user")]
    Target,
    /// The body's length is said in two ways, or in none that is understood.
    #[error("the length of the body is not clear")]
    Framing,
    /// A proxy serves requests for others, not for itself.
    #[error("this is a proxy, and no server")]
    NotForProxy,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// Where to.
    pub(super) to: Destination,
    /// The token of `proxy-authorization`, if there was one.
    pub(super) token: Option<Vec<u8>>,
    /// What it asks for.
    pub(super) asks: Asks,
}

/// What a request asks a proxy for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asks {
    /// A connection.
    Connect,
    /// One exchange: this head goes on, with a body.
    Exchange {
        /// The head in origin form.
        head: Vec<u8>,
        /// How the body ends.
        body: Body,
    },
}

/// Reads a head from the front of what arrived, with the number of bytes that it took; `Ok(None)` if more must come.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let Some(end) = bytes.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() >= HEAD_BYTES_MAX { Err(HeadError::TooLarge) } else { Ok(None) };
    };
    let mut lines =
        bytes[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    // A bare carriage return or line feed inside a line is a way to be read differently by the next reader.
    if bytes[..end].iter().enumerate().any(|(at, byte)| match byte {
        b'\r' => bytes[at + 1] != b'\n',
        b'\n' => at == 0 || bytes[at - 1] != b'\r',
        0 => true,
        _ => false,
    }) {
        return Err(HeadError::Field);
    }
    let line = RequestLine::read(lines.next().ok_or(HeadError::Line)?)?;
    let fields = lines.map(field).collect::<Result<Vec<_>, _>>()?;
    if fields.len() > FIELDS_MAX {
        return Err(HeadError::TooLarge);
    }
    let token = token(&fields)?;
    let head = match line.method {
        "CONNECT" => Head { to: authority(line.target, None)?, token, asks: Asks::Connect },
        _ if line.target.starts_with('/') || line.target == "*" => return Err(HeadError::NotForProxy),
        _ => exchange(&line, &fields, token)?,
    };
    Ok(Some((head, end + 4)))
}

struct RequestLine<'a> {
    method: &'a str,
    target: &'a str,
}

impl<'a> RequestLine<'a> {
    fn read(line: &'a [u8]) -> Result<Self, HeadError> {
        let line = std::str::from_utf8(line).map_err(|_| HeadError::Line)?;
        let mut parts = line.split(' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None)
                if is_token(method)
                    && target.bytes().all(|byte| byte.is_ascii_graphic())
                    && !target.is_empty() =>
            {
                Ok(Self { method, target })
            }
            _ => Err(HeadError::Line),
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

/// A name in lower case, and a value.
type Field<'a> = (String, &'a [u8]);

fn field(line: &[u8]) -> Result<Field<'_>, HeadError> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(HeadError::Field)?;
    let (name, value) = line.split_at(colon);
    let name = std::str::from_utf8(name).ok().filter(|name| is_token(name)).ok_or(HeadError::Field)?;
    Ok((name.to_ascii_lowercase(), value[1..].trim_ascii()))
}

fn values<'a>(fields: &'a [Field<'_>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |(found, _)| found == name).map(|(_, value)| *value)
}

fn token(fields: &[Field<'_>]) -> Result<Option<Vec<u8>>, HeadError> {
    let mut found = values(fields, "proxy-authorization");
    let (Some(value), None) = (found.next(), found.next()) else {
        // More than one is no one: whose would it be?
        return Ok(None);
    };
    let value = std::str::from_utf8(value).map_err(|_| HeadError::Field)?;
    let Some((scheme, rest)) = value.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let Ok(mut pair) = STANDARD.decode(rest.trim()) else { return Ok(None) };
    Ok(pair.iter().position(|byte| *byte == b':').map(|colon| pair.split_off(colon + 1)))
}

fn exchange(line: &RequestLine<'_>, fields: &[Field<'_>], token: Option<Vec<u8>>) -> Result<Head, HeadError> {
    let scheme = line.target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let rest = scheme.map(|scheme| &line.target[scheme.len()..]).ok_or(HeadError::Target)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let to = authority(host, Some(80))?;
    if path.contains('#') {
        return Err(HeadError::Target);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let body = framing(fields)?;
    let named: Vec<String> = values(fields, "connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    // RFC 9110, section 7.6.1: what connection names is removed; that could take away what frames the body.
    if named.iter().any(|name| matches!(&**name, "content-length" | "transfer-encoding" | "host")) {
        return Err(HeadError::Framing);
    }
    let mut head = format!("{} {slash}{path} HTTP/1.1\r\nhost: {host}\r\n", line.method).into_bytes();
    for (name, value) in fields {
        let dropped = name == "host"
            || name.starts_with("proxy-")
            || HOP_BY_HOP.contains(&&**name)
            || named.contains(name);
        if !dropped {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
    // One request a connection: RFC 9112, section 9.6.
    head.extend_from_slice(b"connection: close\r\n\r\n");
    Ok(Head { to, token, asks: Asks::Exchange { head, body } })
}

/// RFC 9112, section 6.3, without what only lenient readers accept.
fn framing(fields: &[Field<'_>]) -> Result<Body, HeadError> {
    let lengths: Vec<_> = values(fields, "content-length").collect();
    let encodings: Vec<_> = values(fields, "transfer-encoding").collect();
    match (&*lengths, &*encodings) {
        ([], []) => Ok(Body::sized(0)),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
            Ok(Body::sized(length.ok_or(HeadError::Framing)?))
        }
        ([], [encoding]) if encoding.eq_ignore_ascii_case(b"chunked") => Ok(Body::chunked()),
        _ => Err(HeadError::Framing),
    }
}

/// `host:port`; without a port only where there is a usual one.
fn authority(text: &str, usual: Option<u16>) -> Result<Destination, HeadError> {
    if text.contains('@') {
        return Err(HeadError::Target);
    }
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<std::net::Ipv6Addr>().map_err(|_| HeadError::Target)?;
            (host, rest.strip_prefix(':').ok_or(rest))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Ok(port)),
            None => (text, Err("")),
        },
    };
    let port = match (port, usual) {
        (Ok(port), _) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0).ok_or(HeadError::Target)?
        }
        (Err(""), Some(usual)) => usual,
        _ => return Err(HeadError::Target),
    };
    if host.is_empty() {
        return Err(HeadError::Target);
    }
    Ok(match host.parse() {
        Ok(ip) => Destination::Address(std::net::SocketAddr::new(ip, port)),
        Err(_) => Destination::Name { host: Hostname::from(host), port },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(Head, usize)>, HeadError> {
        head(text.as_bytes())
    }

    fn to(text: &str) -> Result<String, HeadError> {
        Ok(match read(text)?.expect("the head is whole").0.to {
            Destination::Address(address) => format!("address {address}"),
            Destination::Name { host, port } => format!("name {host}:{port}"),
            other => format!("{other:?}"),
        })
    }

    #[track_caller]
    fn goes_on_as(text: &str, expected: &str) {
        let (read, _) = read(text).expect("a head").expect("whole");
        let Asks::Exchange { head, .. } = read.asks else { panic!("it is an exchange") };
        assert_eq!(String::from_utf8(head).expect("text"), expected);
    }

    #[test]
    fn connect_names_host_and_port() {
        let connect = |target: &str| to(&format!("CONNECT {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!(connect("tools.shop:80"), Ok("name tools.shop:80".to_owned()));
        assert_eq!(connect("10.20.0.1:80"), Ok("address 10.20.0.1:80".to_owned()));
        assert_eq!(connect("[::1]:80"), Ok("address [::1]:80".to_owned()));
        for bad in [
            "tools",
            "tools:",
            "tools:0",
            "tools:65536",
            "tools:+80",
            ":80",
            "[::1]",
            "[::1]x:80",
            "[a]:80",
            "u@a:80",
            "u:p@a:80",
            "a:b:80",
        ] {
            assert_eq!(connect(bad), Err(HeadError::Target), "{bad}");
        }
    }

    #[test]
    fn an_exchange_goes_on_in_origin_form_without_what_is_for_a_proxy() {
        goes_on_as(
            "GET http://a/ HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        );
        goes_on_as(
            "GET HTTP://a:81?q HTTP/1.1\r\n\r\n",
            "GET /?q HTTP/1.1\r\nhost: a:81\r\nconnection: close\r\n\r\n",
        );
        goes_on_as(
            "POST http://a/b?c HTTP/1.0\r\nHost: other\r\nProxy-Authorization: Basic eA==\r\nProxy-Connection: x\r\n\
             Proxy-Anything: y\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
             Upgrade: h2c\r\nX-Kept:  2 \r\nContent-Length: 3\r\n\r\n",
            "POST /b?c HTTP/1.1\r\nhost: a\r\nx-kept: 2\r\ncontent-length: 3\r\nconnection: close\r\n\r\n",
        );
        for bad in
            ["https://a/", "ftp://a/", "http://", "http://u:p@a/", "http://a/#b", "a/b", "http://a:x/", "é"]
        {
            assert!(read(&format!("GET {bad} HTTP/1.1\r\n\r\n")).is_err(), "{bad}");
        }
        assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::NotForProxy));
        assert_eq!(read("OPTIONS * HTTP/1.1\r\n\r\n"), Err(HeadError::NotForProxy));
    }

    #[test]
    fn a_body_has_one_length() {
        let body = |fields: &str| {
            read(&format!("POST http://a/ HTTP/1.1\r\n{fields}\r\n")).map(|read| {
                match read.expect("whole").0.asks {
                    Asks::Exchange { body, .. } => body,
                    Asks::Connect => panic!("it is an exchange"),
                }
            })
        };
        assert_eq!(body(""), Ok(Body::sized(0)));
        assert_eq!(body("Content-Length: 12\r\n"), Ok(Body::sized(12)));
        assert_eq!(body("Transfer-Encoding: Chunked\r\n"), Ok(Body::chunked()));
        for bad in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Connection: content-length\r\nContent-Length: 1\r\n",
        ] {
            assert_eq!(body(bad), Err(HeadError::Framing), "{bad}");
        }
    }

    #[test]
    fn the_token_is_the_password() {
        let token = |fields: &str| {
            read(&format!("CONNECT a:1 HTTP/1.1\r\n{fields}\r\n")).map(|read| read.expect("whole").0.token)
        };
        let basic = |pair: &str| format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair));
        assert_eq!(token(&basic("w:secret")), Ok(Some(b"secret".to_vec())));
        assert_eq!(token(&basic("w:a:b")), Ok(Some(b"a:b".to_vec())));
        assert_eq!(token(&basic("w")), Ok(None));
        assert_eq!(token(""), Ok(None));
        assert_eq!(token("Proxy-Authorization: Bearer x\r\n"), Ok(None));
        assert_eq!(token("Proxy-Authorization: Basic !\r\n"), Ok(None));
        assert_eq!(token("Authorization: Basic dzp4\r\n"), Ok(None));
        assert_eq!(token(&format!("{}{}", basic("w:a"), basic("w:b"))), Ok(None));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            "GET  http://a/ HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1 \r\n\r\n",
            "GET http://a/ HTTP/2\r\n\r\n",
            "G(T http://a/ HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nA : b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n A: b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nA b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\n: b\r\n\r\n",
            "GET http://a/ HTTP/1.1\nA: b\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nA: b\nProxy-X: c\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nA: b\rc\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nA: b\0c\r\n\r\n",
            "\r\nGET http://a/ HTTP/1.1\r\n\r\n",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        assert_eq!(read("CONNECT a:1 HTTP/1.1\r\n"), Ok(None));
        let of = |length: usize| {
            let rest = length - "CONNECT a:1 HTTP/1.1\r\nx: \r\n\r\n".len();
            read(&format!("CONNECT a:1 HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(rest)))
        };
        assert!(matches!(of(HEAD_BYTES_MAX), Ok(Some(_))));
        assert_eq!(of(HEAD_BYTES_MAX + 4), Err(HeadError::TooLarge));
        assert_eq!(head(&vec![b'a'; HEAD_BYTES_MAX]), Err(HeadError::TooLarge));
        let many = |count: usize| read(&format!("CONNECT a:1 HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(count)));
        assert!(matches!(many(FIELDS_MAX), Ok(Some(_))));
        assert_eq!(many(FIELDS_MAX + 1), Err(HeadError::TooLarge));
    }

    #[test]
    fn what_follows_the_head_is_left() {
        let text = "CONNECT a:1 HTTP/1.1\r\n\r\nrest";
        assert_eq!(read(text).map(|read| read.map(|(_, used)| used)), Ok(Some(text.len() - 4)));
    }
}
