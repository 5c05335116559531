//! Checks of texts that several kinds hold: names, hosts, paths, expressions, addresses.
//!
//! Each is stated in CEL in the CRDs too, where CEL can say it; a table of objects holds both equal.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh::{Identity, IdentityPattern, TrustDomain};
use regex::RegexBuilder;

use super::fault::Fault;

/// Compiles a CEL expression, only to say whether it can be.
pub type Compile<'a> = &'a dyn Fn(&str) -> Result<(), String>;

/// Largest compiled size of one regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 256 * 1024;
/// Deepest nesting of a regular expression.
const REGEX_DEPTH_MAX: u32 = 32;

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// RFC 1123: lower case letters, digits and `-`, which is neither first nor last.
pub(super) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| lower_or_digit(*byte));
    bytes.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| lower_or_digit(*byte) || *byte == b'-')
}

/// Labels with dots between them.
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

pub(super) fn label(text: &str) -> Result<(), Fault> {
    match is_label(text) {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{text:?} is not a name"))
            .remedy("a name has 1 to 63 of a-z, 0-9 and '-', and '-' is neither first nor last")),
    }
}

pub(super) fn dns_name(text: &str) -> Result<(), Fault> {
    match is_dns_name(text) {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{text:?} is not a name"))
            .remedy("a name has a-z, 0-9, '-' and '.', for example tools or tools.example.com")),
    }
}

/// A host without a port; `*.` stands for every name below.
pub(super) fn host_pattern(text: &str) -> Result<(), Fault> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text.parse::<IpAddr>().is_ok() {
        return Err(Fault::invalid(format!("{text:?} is an address, not a host"))
            .remedy("write a name, for example tools.example.com"));
    }
    match is_dns_name(name) {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{text:?} is not a host")).remedy(
            "write a lower case DNS name without a port, for example tools.example.com or *.example.com",
        )),
    }
}

/// `namespace/name`.
pub(super) fn service_account(text: &str) -> Result<(), Fault> {
    let parts = text.split_once('/').filter(|(namespace, name)| is_label(namespace) && is_dns_name(name));
    match parts {
        Some(_) => Ok(()),
        None => Err(Fault::invalid(format!("{text:?} is not a service account"))
            .remedy("write NAMESPACE/NAME, for example shop/planner")),
    }
}

pub(super) fn trust_domain(text: &str) -> Result<(), Fault> {
    text.parse::<TrustDomain>()
        .map(drop)
        .map_err(|error| Fault::invalid(error.to_string()).remedy("for example west.acme.example"))
}

pub(super) fn identity(text: &str) -> Result<Identity, Fault> {
    text.parse().map_err(|error: mesh::identity::IdentityError| {
        Fault::invalid(error.to_string()).remedy("for example spiffe://west.acme.example/ns/shop/sa/planner")
    })
}

pub(super) fn identity_pattern(text: &str) -> Result<(), Fault> {
    text.parse::<IdentityPattern>().map(drop).map_err(|error| {
        Fault::invalid(error.to_string())
            .remedy("for example spiffe://west.acme.example/ns/shop/sa/planner or spiffe://west.acme.example/ns/shop/**")
    })
}

/// Addresses without host bits, so that a typo in them is seen.
pub(super) fn cidr(text: &str) -> Result<(), Fault> {
    let block: IpNet = text.parse().map_err(|_| {
        Fault::invalid(format!("{text:?} is not a block of addresses"))
            .remedy("write a CIDR, for example 10.0.0.0/8")
    })?;
    if block.trunc() != block {
        return Err(Fault::invalid(format!("{text:?} has bits beyond its prefix"))
            .remedy(format!("write {}", block.trunc())));
    }
    Ok(())
}

pub(super) fn ip(text: &str) -> Result<IpAddr, Fault> {
    text.parse()
        .map_err(|_| Fault::invalid(format!("{text:?} is not an IP address")).remedy("for example 10.20.0.5"))
}

/// 1 to 65535: nothing listens on 0.
pub(super) fn port(port: u16) -> Result<(), Fault> {
    match port {
        0 => Err(Fault::invalid("0 is not a port").remedy("a port is 1 to 65535")),
        _ => Ok(()),
    }
}

/// A path of a URL, as far as it is matched or set.
pub(super) fn absolute_path(text: &str) -> Result<(), Fault> {
    if !text.starts_with('/') {
        return Err(Fault::invalid(format!("{text:?} is not a path")).remedy("a path begins with /"));
    }
    Ok(())
}

/// A path of a URL that we send: no query, no fragment, no blanks.
pub(super) fn path(text: &str) -> Result<(), Fault> {
    absolute_path(text)?;
    match text.contains(|letter: char| letter == '?' || letter == '#' || letter.is_whitespace()) {
        false => Ok(()),
        true => Err(Fault::invalid(format!("{text:?} is not a path"))
            .remedy("a path has no query, no fragment and no blanks: /mcp")),
    }
}

/// A URL without query and fragment, for people and programs outside.
pub(super) fn web_url(text: &str) -> Result<(), Fault> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let legal = rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        !authority.is_empty()
            && !rest.contains(|letter: char| letter == '?' || letter == '#' || letter.is_whitespace())
    });
    match legal {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{text:?} is not a URL"))
            .remedy("for example https://tools.example.com/mcp, without query or fragment")),
    }
}

/// A host that we connect to: a DNS name, or an IPv4 address.
pub(super) fn host(text: &str) -> Result<(), Fault> {
    match is_dns_name(text) {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{text:?} is not a host")).remedy(
            "write a lower case DNS name or an IPv4 address, without scheme, port or path: mcp.example.com",
        )),
    }
}

/// A regular expression over a whole text: RE2's syntax, bounded in size, without state that can explode.
pub(super) fn pattern(text: &str) -> Result<(), Fault> {
    let whole = format!("^(?:{text})$");
    let built = RegexBuilder::new(&whole).size_limit(REGEX_BYTES_MAX).nest_limit(REGEX_DEPTH_MAX).build();
    // Alone as well: "a)(b" is legal only inside what was put around it.
    let alone = regex::Regex::new(text);
    match (built, alone) {
        (Ok(_), Ok(_)) => Ok(()),
        (Err(regex::Error::CompiledTooBig(_)), _) | (_, Err(regex::Error::CompiledTooBig(_))) => {
            Err(Fault::invalid("is a regular expression that becomes too large")
                .remedy("repeat less, for example .* in place of .{1,1000}"))
        }
        (_, Err(error)) | (Err(error), _) => {
            let text = error.to_string();
            let cause =
                text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not parse");
            Err(Fault::invalid(format!(
                "is not a regular expression: {}",
                cause.trim_start_matches("error: ").trim()
            ))
            .remedy("RE2's syntax is understood: no look-around, no back references"))
        }
    }
}

/// A CEL expression.
pub(super) fn expression(text: &str, compile: Compile<'_>) -> Result<(), Fault> {
    compile(text).map_err(|error| {
        let cause: String =
            error.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        Fault::invalid(format!("is not a CEL expression: {cause}"))
            .remedy("for example request.headers['x-team'] == 'docs'")
    })
}

/// A JSON pointer (RFC 6901) to something inside.
pub(super) fn json_pointer(text: &str) -> Result<(), Fault> {
    let mut bytes = text.bytes();
    let mut legal = text.starts_with('/');
    while let Some(byte) = bytes.next() {
        legal &= byte != b'~' || matches!(bytes.next(), Some(b'0' | b'1'));
    }
    match legal {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{text:?} is not a JSON pointer"))
            .remedy("it begins with /, and ~ and / inside a name are written ~0 and ~1: /repo/name")),
    }
}

/// A name that may end in `*`.
pub(super) fn star_at_end(text: &str) -> Result<(), Fault> {
    match text.strip_suffix('*').unwrap_or(text).contains('*') {
        false => Ok(()),
        true => Err(Fault::invalid(format!("{text:?} has a '*' that is not at its end"))
            .remedy("name them one by one, or end in *: read_*")),
    }
}

/// A token of HTTP (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(legal)
}

pub(super) fn header_name(text: &str) -> Result<(), Fault> {
    match is_token(text) {
        true => Ok(()),
        false => {
            Err(Fault::invalid(format!("{text:?} is not the name of a header")).remedy("for example x-team"))
        }
    }
}

/// Headers that carry an identity are set by us alone (invariant 4), and those of the hop belong to it.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
    "x-strait-origin",
    "x-strait-denied",
];

/// The name of a header that somebody else than the proxy may set.
pub(super) fn header_of_others(name: &str) -> Result<(), Fault> {
    header_name(name)?;
    match OURS.iter().find(|fixed| name.eq_ignore_ascii_case(fixed)) {
        None => Ok(()),
        Some(fixed) => {
            Err(Fault::invalid(format!("{fixed} is set by the proxy alone")).remedy("take it out"))
        }
    }
}

/// A value of a header that can be sent (RFC 9110, section 5.5).
pub(super) fn header_value(text: &str) -> Result<(), Fault> {
    match text.bytes().any(|byte| byte == 0x7f || (byte < 0x20 && byte != b'\t')) {
        false => Ok(()),
        true => Err(Fault::invalid("has a character that no header may have")
            .remedy("take line ends and the like out")),
    }
}

/// RFC 3339 in UTC and whole seconds: `2026-11-24T12:00:00Z`.
pub(super) fn moment(text: &str) -> Result<(), Fault> {
    let wrong =
        || Fault::invalid(format!("{text:?} is not a time")).remedy("write for example 2026-11-24T12:00:00Z");
    let shape = b"0000-00-00T00:00:00Z";
    let fits = text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        });
    match fits && text.parse::<jiff::Timestamp>().is_ok() {
        true => Ok(()),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(judge: impl Fn(&str) -> Result<(), Fault>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(judge(text).is_ok(), "{text:?}: {:?}", judge(text));
        }
        for text in bad {
            assert!(judge(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn names_are_lower_case_and_bounded() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        check(label, &["a", "a-b", "0", &long], &["", "-a", "a-", "A", "a.b", "a_b", &longer]);
        check(dns_name, &["a", "a.b-c.d"], &["", ".", "a.", ".a", "a..b", "A.b", &longer]);
    }

    #[test]
    fn hosts_have_no_ports_and_are_no_addresses() {
        check(
            host_pattern,
            &["a", "a.b", "*.a.b"],
            &["*", "*.", "a.*.b", "a:80", "A.b", "10.0.0.1", "a.b.", "::1", "*a.b"],
        );
    }

    #[test]
    fn service_accounts_are_namespace_and_name() {
        check(service_account, &["a/b", "a/b.c"], &["a", "a/", "/a", "a/b/c", "A/b", "*/b", "a/*", "a.b/c"]);
    }

    #[test]
    fn blocks_of_addresses_have_no_host_bits() {
        check(
            cidr,
            &["10.0.0.0/8", "0.0.0.0/0", "::/0", "10.1.2.3/32"],
            &["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", ""],
        );
    }

    #[test]
    fn ports_begin_at_one() {
        assert!(port(0).is_err());
        assert!(port(1).is_ok());
        assert!(port(65535).is_ok());
    }

    #[test]
    fn patterns_are_those_of_re2_and_bounded() {
        check(
            pattern,
            &["a", ".*", "(a|b)+", "a|b", "[0-9]{1,3}"],
            &["(", "a)(b", "(?=a)", r"(a)\1", "*", "(a{1000}){1000}", r"[\w]{1,100000}"],
        );
    }

    #[test]
    fn hosts_paths_and_urls_are_each_without_the_rest() {
        check(host, &["a", "a.b", "127.0.0.1"], &["", "a:80", "https://a", "a/b", "A.b", "::1", "*.a"]);
        check(path, &["/", "/a/b", "/a%20b"], &["", "a", "/a?b", "/a#b", "/a b"]);
        check(
            web_url,
            &["https://a", "http://127.0.0.1:80/x", "https://a/b/"],
            &["", "a", "ftp://a", "https://", "https:///a", "https://a?b", "https://a#b", "https://a b"],
        );
        check(header_of_others, &["x-api-key", "Authorization"], &["Host", "X-Strait-Origin", "te", "a b"]);
    }

    #[test]
    fn pointers_begin_with_a_slash_and_escape_tildes() {
        check(json_pointer, &["/", "/a", "/a/0/b", "/a~0b~1c"], &["", "a", "a/b", "/a~", "/a~2"]);
    }

    #[test]
    fn a_star_stands_at_the_end() {
        check(star_at_end, &["a", "a*", "*"], &["*a", "a*b", "**"]);
    }

    #[test]
    fn times_are_whole_seconds_in_utc() {
        check(
            moment,
            &["2026-11-24T12:00:00Z"],
            &[
                "",
                "2026-11-24",
                "2026-11-24T12:00:00",
                "2026-11-24T12:00:00+01:00",
                "2026-13-24T12:00:00Z",
                "2026-11-24T12:00:00.5Z",
            ],
        );
    }

    #[test]
    fn headers_are_tokens_without_line_ends_in_their_values() {
        check(header_name, &["x-team", "X_Y"], &["", "a b", "a:b", "é"]);
        check(header_value, &["a b", "", "a\tb"], &["a\nb", "a\r", "\0"]);
    }
}
