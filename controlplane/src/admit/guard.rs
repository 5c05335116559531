//! Checks of `GuardPolicy`.

use std::net::Ipv6Addr;

use api::{
    gateway::GATEWAY_GROUP,
    guard::{GUARD_BYTES_MAX, GuardPattern, GuardPatternType, GuardPolicySpec, GuardSizes},
    object::GROUP,
};

use super::{
    access::check_target,
    fault::{Fault, Within, each, some, unique},
    text,
    upstream::{check_service_ref, check_wait},
};

/// What content passes and what is counted: targets of guards and quotas.
pub(super) const TARGETS: &[(&str, &str, bool)] = &[
    ("", "Namespace", false),
    ("", "Service", true),
    (GROUP, "AgentBackend", true),
    (GATEWAY_GROUP, "Gateway", true),
    (GATEWAY_GROUP, "HTTPRoute", true),
];

pub(super) fn check(spec: &GuardPolicySpec, namespace: &str) -> Result<(), Fault> {
    each("targetRefs", &spec.target_refs, |target| check_target(target, TARGETS, namespace))?;
    let says =
        [!spec.patterns.is_empty(), spec.sizes.is_some(), !spec.origins.is_empty(), spec.external.is_some()];
    if !says.contains(&true) {
        return Err(Fault::conflict("says nothing")
            .remedy("write at least one of patterns, sizes, origins and external"));
    }
    unique("patterns", &spec.patterns, |pattern| Some(pattern.name.as_str()), "pattern")?;
    each("patterns", &spec.patterns, check_pattern)?;
    some("sizes", spec.sizes.as_ref(), check_sizes)?;
    each("origins", &spec.origins, |origin| check_origin(origin))?;
    some("external", spec.external.as_ref(), |external| {
        check_service_ref(&external.service_ref).within("serviceRef")?;
        some("path", external.path.as_deref(), text::path)?;
        some("timeout", external.timeout.as_ref(), check_wait)
    })
}

fn check_pattern(pattern: &GuardPattern) -> Result<(), Fault> {
    text::label(&pattern.name).within("name")?;
    match (pattern.kind, pattern.regex.as_deref()) {
        (GuardPatternType::Regex, Some(regex)) => check_regex(regex).within("regex"),
        (GuardPatternType::Regex, None) => Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("type Regex needs its expression, for example regex: 'ACME-[0-9]{6}'")
            .within("regex")),
        (kind, Some(_)) => Err(Fault::conflict(format!("stands beside type {kind:?}"))
            .remedy("write type: Regex, or take it out")
            .within("regex")),
        (_, None) => Ok(()),
    }
}

/// An expression that is looked for anywhere in a text, so it must not be everywhere.
fn check_regex(regex: &str) -> Result<(), Fault> {
    text::pattern(regex)?;
    match regex::Regex::new(regex).is_ok_and(|regex| regex.is_match("")) {
        true => Err(Fault::invalid("matches the empty text, so it would be found everywhere")
            .remedy("ask for at least one character, for example + in place of *")),
        false => Ok(()),
    }
}

fn check_sizes(sizes: &GuardSizes) -> Result<(), Fault> {
    if sizes.request.is_none() && sizes.response.is_none() {
        return Err(Fault::conflict("says nothing").remedy("write at least one of request and response"));
    }
    let check = |bytes: &u64| match bytes {
        1..=GUARD_BYTES_MAX => Ok(()),
        _ => Err(Fault::invalid(format!("is {bytes}")).remedy(format!("write 1 to {GUARD_BYTES_MAX} bytes"))),
    };
    some("request", sizes.request.as_ref(), check)?;
    some("response", sizes.response.as_ref(), check)
}

/// RFC 6454, as a browser writes it: scheme, host, and a port if it is not the usual one.
fn check_origin(origin: &str) -> Result<(), Fault> {
    let wrong = || {
        Fault::invalid(format!("{origin:?} is not an origin")).remedy(
            "write scheme and host in lower case, and a port if it is unusual: https://app.example.com",
        )
    };
    let (scheme, authority) = origin.split_once("://").ok_or_else(wrong)?;
    let mut letters = scheme.bytes();
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !letters.next().is_some_and(|byte| byte.is_ascii_lowercase()) || !letters.all(legal) {
        return Err(wrong());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(wrong)?;
            address.parse::<Ipv6Addr>().map_err(|_| wrong())?;
            (
                "",
                after
                    .strip_prefix(':')
                    .map_or(if after.is_empty() { Ok(None) } else { Err(wrong()) }, |port| Ok(Some(port)))?,
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if !host.is_empty() && !text::is_dns_name(host) || host.is_empty() && !authority.starts_with('[') {
        return Err(wrong());
    }
    match (scheme, port) {
        (_, None) => Ok(()),
        ("https", Some("443")) | ("http", Some("80")) => {
            Err(Fault::invalid(format!("{origin:?} names the usual port, which browsers leave out"))
                .remedy("take the port out"))
        }
        (_, Some(port)) => match port.parse::<u16>() {
            Ok(number) if number > 0 && number.to_string() == port => Ok(()),
            _ => Err(wrong()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_writes() {
        for good in ["https://a", "http://a.b:8080", "https://a.b", "vscode-webview://x", "http://[::1]:3000"]
        {
            assert!(check_origin(good).is_ok(), "{good}: {:?}", check_origin(good));
        }
        for bad in [
            "",
            "a",
            "https://",
            "https://a/",
            "https://a:443",
            "http://a:80",
            "https://a:0",
            "https://a:65536",
            "https://a:080",
            "HTTPS://a",
            "https://A",
            "*",
            "null",
            "https://*.a",
            "https://a b",
            "http://[::1",
            "http://[a]",
            "http://[::1]x",
            "1a://b",
        ] {
            assert!(check_origin(bad).is_err(), "{bad} was accepted");
        }
    }
}
