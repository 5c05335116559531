//! Where an agent may be asked to post what becomes of a task: only to public places outside the mesh.
//!
//! A name is judged as a name. What it resolves to is found out by the agent, who resolves it; an agent's own egress
//! is what protects it from a public name with a private address.

use std::net::IpAddr;

use mesh::outside;
use serde_json::Value;
use url::{Host, Url};

use crate::{fields, method::Known, opening::Opened};

/// Suffixes of names that are not public, or lead into the mesh.
const NOT_PUBLIC: [&str; 13] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "private",
    "corp",
    "lan",
    "home",
    "arpa",
    "svc",
    "mesh",
    "test",
];

/// The URLs to which this request has its agent post.
pub(crate) fn asked(opened: &Opened) -> Vec<&str> {
    let Some(params) = opened.params.as_ref().and_then(Value::as_object) else { return Vec::new() };
    let mut found = Vec::new();
    if opened.method.known == Some(Known::PushCreate) || opened.method.known.is_none() {
        found.extend(fields::text(params, "url"));
    }
    let mut within = vec![params];
    while let Some(object) = within.pop() {
        for name in [
            "configuration",
            "config",
            "pushNotification",
            "pushNotificationConfig",
            "taskPushNotificationConfig",
        ] {
            if let Some(inner) = fields::get(object, name).and_then(Value::as_object) {
                found.extend(fields::text(inner, "url"));
                within.push(inner);
            }
        }
    }
    found
}

/// Whether an agent may be asked to post there. `own` are the names of the mesh that are known here.
///
/// # Errors
/// Why not.
pub fn check(url: &str, own: &[&str]) -> Result<(), &'static str> {
    let url = Url::parse(url).map_err(|_| "it is no URL")?;
    if url.scheme() != "https" {
        return Err("it is not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it carries credentials");
    }
    match url.host() {
        None => Err("it has no host"),
        Some(Host::Ipv4(address)) => public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => public(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let last = name.rsplit('.').next().unwrap_or_default();
            if !name.contains('.') || NOT_PUBLIC.contains(&last) {
                return Err("its name is not public");
            }
            if own.iter().any(|own| own.eq_ignore_ascii_case(&name)) {
                return Err("its name leads into the mesh");
            }
            Ok(())
        }
    }
}

fn public(address: IpAddr) -> Result<(), &'static str> {
    if outside::public(address) { Ok(()) } else { Err("its address is not public") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_push_webhook_ssrf() {
        let own = ["researcher.shop.example"];
        for good in [
            "https://hooks.example.com/a?b",
            "https://8.8.8.8:8443/",
            "https://[2606:4700::1]/",
            "https://172.32.0.1/",
        ] {
            assert_eq!(check(good, &own), Ok(()), "{good}");
        }
        for bad in [
            "",
            "hooks.example.com",
            "http://hooks.example.com/",
            "ftp://hooks.example.com/",
            "file:///etc/passwd",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://intranet/",
            "https://api.shop.svc/",
            "https://api.shop.svc.cluster.local/",
            "https://tools.shop.mesh/",
            "https://metadata.google.internal/",
            "https://1.0.0.127.in-addr.arpa/",
            "https://researcher.shop.example/",
            "https://Researcher.shop.example./",
            "https://user:pass@hooks.example.com/",
            "https://user@hooks.example.com/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fe80::1]/",
            "https://[fc00::1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001:0:1::]/",
            "https://[2001:db8::1]/",
        ] {
            assert!(check(bad, &own).is_err(), "{bad}");
        }
    }
}
