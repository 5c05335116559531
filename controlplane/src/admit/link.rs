//! Checks of `ClusterLink` and `Revocation`.

use std::net::Ipv6Addr;

use api::{
    link::{ClusterLinkSpec, RemoteGateway},
    revocation::RevocationSpec,
};

use super::{
    fault::{Fault, Within, each, some, unique},
    text,
};

pub(super) fn check_link(spec: &ClusterLinkSpec) -> Result<(), Fault> {
    let domain = &*spec.trust_domain;
    text::trust_domain(domain).within("trustDomain")?;
    check_bundle(&spec.bundle.endpoint).within("endpoint").within("bundle")?;
    check_pin(&spec.bundle.pin).within("pin").within("bundle")?;
    check_address(&spec.control_plane.address).within("address").within("controlPlane")?;
    identity_of(&spec.control_plane.identity, domain).within("identity").within("controlPlane")?;
    each("gateways", &spec.gateways, |gateway| check_gateway(gateway, domain))?;
    each("vouchers", &spec.vouchers, |voucher| identity_of(voucher, domain))?;
    some("import", spec.import.as_ref(), |import| {
        unique("namespaces", &import.namespaces, |mapping| Some(mapping.remote.as_str()), "namespace")?;
        each("namespaces", &import.namespaces, |mapping| {
            text::label(&mapping.remote).within("remote")?;
            text::label(&mapping.local).within("local")
        })
    })?;
    some("export", spec.export.as_ref(), |export| {
        each("namespaces", &export.namespaces, |namespace| text::label(namespace))
    })
}

/// A link speaks for its own trust domain and for no other.
fn identity_of(identity: &str, domain: &str) -> Result<(), Fault> {
    match text::identity(identity)?.trust_domain().as_str() == domain {
        true => Ok(()),
        false => Err(Fault::conflict(format!("{identity} is not of the link's trust domain {domain}"))
            .remedy("a link names identities of its own trust domain only")),
    }
}

fn check_gateway(gateway: &RemoteGateway, domain: &str) -> Result<(), Fault> {
    text::ip(&gateway.address).within("address")?;
    text::port(gateway.port).within("port")?;
    identity_of(&gateway.identity, domain).within("identity")
}

fn check_bundle(endpoint: &str) -> Result<(), Fault> {
    let rest = endpoint.strip_prefix("https://");
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match host.is_some_and(|host| !host.is_empty() && !host.contains('@') && has_legal_port(host))
        && endpoint.bytes().all(legal)
    {
        true => Ok(()),
        false => Err(Fault::invalid(format!("{endpoint:?} is not an https URL"))
            .remedy("for example https://203.0.113.7:15012/bundle")),
    }
}

fn has_legal_port(host: &str) -> bool {
    let port = match host.rsplit_once(']') {
        Some((_, after)) => after.strip_prefix(':').or((!after.is_empty()).then_some("")),
        None => host.split_once(':').map(|(_, port)| port),
    };
    port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn check_pin(pin: &str) -> Result<(), Fault> {
    let digits = pin.strip_prefix("sha256:");
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    match digits.is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex)) {
        true => Ok(()),
        false => Err(Fault::invalid("is not a pin")
            .remedy("write sha256: and 64 digits of lower case hex, as `strait link` prints it")),
    }
}

/// `host:port`, `address:port` or `[address]:port`.
fn check_address(text: &str) -> Result<(), Fault> {
    let parsed = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let legal_host = match bracketed {
            Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
            None => text::is_dns_name(&host.to_ascii_lowercase()),
        };
        legal_host && !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok()
    });
    match parsed {
        true => Ok(()),
        false => {
            Err(Fault::invalid(format!("{text:?} is not HOST:PORT")).remedy("for example 203.0.113.7:15012"))
        }
    }
}

pub(super) fn check_revocation(spec: &RevocationSpec) -> Result<(), Fault> {
    text::identity(&spec.identity).within("identity")?;
    text::moment(&spec.issued_before).within("issuedBefore")
}
