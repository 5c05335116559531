//! Hosts and ports as clients of a proxy write them.

use std::net::{IpAddr, SocketAddr};

use mesh::names::Hostname;

use super::Target;

/// The longest host name, in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// `host:port`, or `host` with a default port; IPv6 in brackets.
pub(super) fn parse(text: &str, default_port: Option<u16>) -> Option<Target> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: std::net::Ipv6Addr = address.parse().ok()?;
        let digits = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
        return Some(Target::Address(SocketAddr::new(address.into(), port(digits, default_port)?)));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, digits)) => (host, port(Some(digits), default_port)?),
        None => (text, default_port?),
    };
    of(host, port)
}

/// A host without brackets, and a port.
pub(super) fn of(host: &str, port: u16) -> Option<Target> {
    if port == 0 {
        return None;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Target::Address(SocketAddr::new(address, port)));
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let labels = host.split('.').all(|label| matches!(label.len(), 1..=63) && label.bytes().all(legal));
    // What looks like an address and is none (`127.1`, `0x7f.1`) is not left to a resolver's mercy.
    let numeric = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    (labels && !numeric && host.len() <= NAME_BYTES_MAX)
        .then(|| Target::Name { host: Hostname::from(host), port })
}

fn port(digits: Option<&str>, default_port: Option<u16>) -> Option<u16> {
    let Some(digits) = digits else { return default_port };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses() {
        let show = |text: &str| match parse(text, Some(80)) {
            Some(Target::Name { host, port }) => format!("{host} {port}"),
            Some(Target::Address(address)) => address.to_string(),
            None => "none".to_owned(),
        };
        for (text, expected) in [
            ("Tools.shop.svc.", "tools.shop.svc 80"),
            ("tools:8080", "tools 8080"),
            ("10.0.0.1:1", "10.0.0.1:1"),
            ("[::1]:65535", "[::1]:65535"),
            ("[::1]", "[::1]:80"),
            ("a_b.c", "a_b.c 80"),
            ("", "none"),
            ("a:", "none"),
            ("a:0", "none"),
            ("a:65536", "none"),
            ("a:+1", "none"),
            ("a..b", "none"),
            ("a b", "none"),
            ("127.1", "none"),
            ("[::1", "none"),
            ("[::1]x", "none"),
            ("a:b:c", "none"),
            ("user@host", "none"),
        ] {
            assert_eq!(show(text), expected, "{text:?}");
        }
        assert_eq!(parse("tools", None), None);
        assert!(of(&format!("{}a", "a.".repeat(126)), 1).is_some());
        assert!(of(&format!("{}ab", "a.".repeat(126)), 1).is_none());
    }
}
