//! Checks of Kubernetes' own kinds and of the Multi-Cluster Services API, as far as they concern us.

use std::net::IpAddr;

use api::{
    core::{Protocol, Secret, ServiceSpec, ServiceType, SessionAffinity, TargetPort, TrafficLocality},
    mcs::{ServiceImportSpec, ServiceImportType},
};

use super::{
    fault::{Fault, Within, each, some, unique},
    text,
};

/// What a port may say that it speaks, of ours.
const SPOKEN: &[&str] = &["strait.dev/mcp", "strait.dev/a2a", "strait.dev/llm"];

/// What a port speaks: names of ours are known, those of others are theirs.
pub(super) fn app_protocol(text: &str) -> Result<(), Fault> {
    match text.starts_with("strait.dev/") && !SPOKEN.contains(&text) {
        true => Err(Fault::invalid(format!("{text:?} is not spoken here"))
            .remedy(format!("write one of {}", SPOKEN.join(", ")))),
        false => Ok(()),
    }
}

pub(super) fn check_service(spec: &ServiceSpec) -> Result<(), Fault> {
    if spec.kind == ServiceType::ExternalName || spec.external_name.is_some() {
        let field = if spec.external_name.is_some() { "externalName" } else { "type" };
        return Err(Fault::not_built_yet("ExternalName")
            .remedy("write an AgentBackend, or take it out")
            .within(field));
    }
    if !spec.external_ips.is_empty() {
        return Err(Fault::not_built_yet("externalIPs").remedy("take it out").within("externalIPs"));
    }
    some("sessionAffinity", spec.session_affinity.as_ref(), check_affinity)?;
    if spec.internal_traffic_policy == Some(TrafficLocality::Local) {
        return Err(Fault::not_built_yet("Local").remedy("write Cluster").within("internalTrafficPolicy"));
    }
    some("clusterIP", spec.cluster_ip.as_deref(), check_cluster_ip)?;
    each("clusterIPs", &spec.cluster_ips, |address| check_cluster_ip(address))?;
    if spec.ports.is_empty() && !spec.is_headless() {
        return Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("a Service has at least one port")
            .within("ports"));
    }
    unique("ports", &spec.ports, |port| port.name.as_deref(), "port")?;
    unique("ports", &spec.ports, |port| Some(port.port), "port")?;
    each("ports", &spec.ports, |port| {
        match &port.name {
            Some(name) => text::label(name).within("name")?,
            None if spec.ports.len() > 1 => {
                return Err(Fault::new(api::Reason::MissingField, "is missing")
                    .remedy("of several ports, each has a name")
                    .within("name"));
            }
            None => {}
        }
        text::port(port.port).within("port")?;
        if let Some(TargetPort::Name(name)) = &port.target_port {
            text::label(name).within("targetPort")?;
        }
        check_protocol(port.protocol)?;
        some("appProtocol", port.app_protocol.as_deref(), app_protocol)
    })
}

fn check_protocol(protocol: Protocol) -> Result<(), Fault> {
    match protocol {
        Protocol::Tcp => Ok(()),
        Protocol::Udp | Protocol::Sctp => {
            Err(Fault::not_built_yet("a port that is not TCP").remedy("take the port out").within("protocol"))
        }
    }
}

fn check_affinity(affinity: &SessionAffinity) -> Result<(), Fault> {
    match affinity {
        SessionAffinity::None => Ok(()),
        SessionAffinity::ClientIp => {
            Err(Fault::not_built_yet("ClientIP").remedy("write None, or take it out"))
        }
    }
}

fn check_cluster_ip(address: &str) -> Result<(), Fault> {
    match address {
        "" | "None" => Ok(()),
        address => match text::ip(address)? {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(_) => Err(Fault::not_built_yet("an IPv6 address").remedy("write an IPv4 address")),
        },
    }
}

pub(super) fn check_import(spec: &ServiceImportSpec) -> Result<(), Fault> {
    if spec.kind == ServiceImportType::Headless {
        return Err(Fault::not_built_yet("Headless").remedy("write ClusterSetIP").within("type"));
    }
    some("sessionAffinity", spec.session_affinity.as_ref(), check_affinity)?;
    each("ips", &spec.ips, |address| text::ip(address).map(drop))?;
    unique("ports", &spec.ports, |port| Some(port.port), "port")?;
    each("ports", &spec.ports, |port| {
        some("name", port.name.as_deref(), text::label)?;
        text::port(port.port).within("port")?;
        check_protocol(port.protocol)?;
        some("appProtocol", port.app_protocol.as_deref(), app_protocol)
    })
}

/// Most bytes of a Secret, as Kubernetes bounds them.
const SECRET_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn check_secret(secret: &Secret) -> Result<(), Fault> {
    use base64::Engine as _;

    let entries = secret.data.iter().chain(&secret.string_data);
    let size: usize = entries.clone().map(|(key, value)| key.len() + value.len()).sum();
    if size > 2 * SECRET_BYTES_MAX {
        return Err(Fault::new(api::Reason::TooLarge, format!("has more than {SECRET_BYTES_MAX} bytes"))
            .within("data"));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    for (key, _) in entries {
        if key.is_empty() || key.len() > 253 || !key.bytes().all(legal) {
            return Err(
                Fault::new(api::Reason::Invalid, "has a key that is not of the right form").within("data")
            );
        }
    }
    for (key, value) in &secret.data {
        if base64::engine::general_purpose::STANDARD.decode(value).is_err() {
            return Err(Fault::conflict("is not base64")
                .remedy("write the value in base64, or put it into stringData as it is")
                .within(key)
                .within("data"));
        }
    }
    check_tls_secret(secret)
}

/// What an API server demands of a Secret of this type.
const TLS_SECRET: &str = "kubernetes.io/tls";

fn check_tls_secret(secret: &Secret) -> Result<(), Fault> {
    if secret.kind_of_secret.as_deref() != Some(TLS_SECRET) {
        return Ok(());
    }
    for key in ["tls.crt", "tls.key"] {
        if !secret.data.contains_key(key) && !secret.string_data.contains_key(key) {
            return Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy(format!("a Secret of type {TLS_SECRET} has tls.crt and tls.key, in PEM"))
                .within(key)
                .within("data"));
        }
    }
    Ok(())
}
