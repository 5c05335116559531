//! What is said of a request that came in at the edge: from where, and how. What it said of that itself is dropped,
//! since nobody there is known.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Replaces what a request says of where it came from by what we know.
pub fn say(headers: &mut HeaderMap, from: Option<IpAddr>, secured: bool) {
    strip(headers);
    if let Some(from) = from.and_then(|from| HeaderValue::from_str(&from.to_canonical().to_string()).ok()) {
        headers.insert(FORWARDED_FOR, from);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if secured { "https" } else { "http" }));
}

/// Removes what says from where a request came.
pub fn strip(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_of_the_way(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Applications that get fields as variables cannot tell a hyphen from an underscore (RFC 3875, section 4.1.18).
fn is_of_the_way(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name == "forwarded"
        || name == "x-real-ip"
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-envoy-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_what_a_stranger_says_of_its_way_is_replaced() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "admin.internal"),
            ("x-real-ip", "10.0.0.1"),
            ("x-envoy-external-address", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("x-kept", "1"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        say(&mut headers, Some("::ffff:192.0.2.7".parse().unwrap()), false);
        let mut said: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        said.sort_unstable();
        assert_eq!(said, [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "http"), ("x-kept", "1")]);
    }
}
