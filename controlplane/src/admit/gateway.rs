//! Checks of `GatewayClass`, `Gateway` and `ReferenceGrant`.

use api::gateway::{
    CLASS_EAST_WEST, CLASS_GATEWAY, CLASS_WAYPOINT, FromNamespaces, GATEWAY_GROUP, GatewayClassSpec,
    GatewayListener, GatewaySpec, ListenerTls, ReferenceGrantSpec, TlsMode,
};

use super::{
    access::check_selector,
    fault::{Fault, Within, each, not_yet, some, unique},
    text,
};

/// What the listeners of a waypoint and of an east-west gateway speak.
const HBONE: &str = "strait.dev/HBONE";
/// The same, as Istio's charts write it.
const HBONE_ISTIO: &str = "HBONE";

pub(super) fn check_class(spec: &GatewayClassSpec) -> Result<(), Fault> {
    match spec.controller_name.split_once('/') {
        Some((domain, path)) if text::is_dns_name(domain) && !path.is_empty() => {}
        _ => {
            return Err(Fault::invalid(format!("{:?} is not a controller's name", spec.controller_name))
                .remedy("write DOMAIN/NAME, for example strait.dev/controller")
                .within("controllerName"));
        }
    }
    not_yet("parametersRef", spec.parameters_ref.as_ref(), "take it out")
}

pub(super) fn check(spec: &GatewaySpec) -> Result<(), Fault> {
    text::dns_name(&spec.gateway_class_name).within("gatewayClassName")?;
    unique("listeners", &spec.listeners, |listener| Some(listener.name.as_str()), "listener")?;
    // Gateways of other classes are others' matter: they are read, and nothing of them is refused here.
    let class = &*spec.gateway_class_name;
    if ![CLASS_GATEWAY, CLASS_WAYPOINT, CLASS_EAST_WEST].contains(&class) {
        return Ok(());
    }
    each("listeners", &spec.listeners, |listener| check_listener(listener, class))?;
    // As the CRD of Gateway API has it; what else two listeners of one port can dispute is said in their statuses.
    let place = |listener: &GatewayListener| {
        let hostname = listener.hostname.as_deref().unwrap_or("any host");
        Some(format!("for {hostname} on port {} by {}", listener.port, &*listener.protocol))
    };
    unique("listeners", &spec.listeners, place, "a listener")?;
    not_yet("allowedListeners", spec.allowed_listeners.as_ref(), "take it out")?;
    not_yet("tls", spec.tls.as_ref(), "take it out")?;
    not_yet("defaultScope", spec.default_scope.as_ref(), "take it out")?;
    each("addresses", &spec.addresses, |address| {
        match address.kind.as_deref() {
            None | Some("IPAddress") => {}
            Some(kind @ "Hostname") => {
                return Err(Fault::not_built_yet(&format!("an address of type {kind}"))
                    .remedy("write an IP address")
                    .within("type"));
            }
            Some(kind) => {
                return Err(Fault::invalid(format!("{kind:?} is not a type of address"))
                    .remedy("write IPAddress")
                    .within("type"));
            }
        }
        some("value", address.value.as_deref(), |value| text::ip(value).map(drop))
    })?;
    some("infrastructure", spec.infrastructure.as_ref(), |infrastructure| {
        not_yet("parametersRef", infrastructure.parameters_ref.as_ref(), "take it out")
    })
}

fn check_listener(listener: &GatewayListener, class: &str) -> Result<(), Fault> {
    text::dns_name(&listener.name).within("name")?;
    text::port(listener.port).within("port")?;
    some("hostname", listener.hostname.as_deref(), text::host_pattern)?;
    let protocol = &*listener.protocol;
    match (class, protocol) {
        (CLASS_GATEWAY, "HTTP" | "HTTPS") | (CLASS_WAYPOINT | CLASS_EAST_WEST, HBONE | HBONE_ISTIO) => {}
        (CLASS_GATEWAY, "TLS" | "TCP" | "UDP") => {
            return Err(Fault::not_built_yet(&format!("a listener of {protocol}"))
                .remedy("write HTTP or HTTPS")
                .within("protocol"));
        }
        (CLASS_GATEWAY, _) => {
            return Err(Fault::invalid(format!("{protocol:?} is not spoken by class {class}"))
                .remedy("write HTTP or HTTPS")
                .within("protocol"));
        }
        _ => {
            return Err(Fault::invalid(format!("{protocol:?} is not spoken by class {class}"))
                .remedy(format!("write {HBONE}"))
                .within("protocol"));
        }
    }
    match (protocol, &listener.tls) {
        ("HTTPS", Some(tls)) => check_tls(tls).within("tls")?,
        ("HTTPS", None) => {
            return Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy("name a Secret with the certificate: tls: {certificateRefs: [{name: edge}]}")
                .within("tls"));
        }
        (_, Some(_)) => {
            return Err(Fault::conflict(format!("stands at a listener of {protocol}"))
                .remedy("write protocol: HTTPS, or take it out")
                .within("tls"));
        }
        (_, None) => {}
    }
    some("allowedRoutes", listener.allowed_routes.as_ref(), |allowed| {
        some("namespaces", allowed.namespaces.as_ref(), |namespaces| {
            match (namespaces.from, &namespaces.selector) {
                (FromNamespaces::Selector, None) => Err(Fault::new(api::Reason::MissingField, "is missing")
                    .remedy("from: Selector needs one")
                    .within("selector")),
                (FromNamespaces::Selector, Some(selector)) => check_selector(selector).within("selector"),
                (_, Some(_)) => {
                    Err(Fault::conflict("stands there without from: Selector").within("selector"))
                }
                (_, None) => Ok(()),
            }
        })?;
        each("kinds", &allowed.kinds, |kind| match (&*kind.group, &*kind.kind) {
            (GATEWAY_GROUP, "HTTPRoute") => Ok(()),
            (GATEWAY_GROUP, "GRPCRoute" | "TLSRoute" | "TCPRoute" | "UDPRoute") => {
                Err(Fault::not_built_yet(&kind.kind).remedy("write HTTPRoute").within("kind"))
            }
            _ => Err(Fault::invalid(format!("{:?} is not a kind of route", kind.kind)).within("kind")),
        })
    })
}

fn check_tls(tls: &ListenerTls) -> Result<(), Fault> {
    if tls.mode == TlsMode::Passthrough {
        return Err(Fault::not_built_yet("Passthrough").remedy("write Terminate").within("mode"));
    }
    if let Some(option) = tls.options.keys().next() {
        return Err(Fault::new(api::Reason::UnknownField, "unknown option")
            .remedy("take it out: there are none of ours")
            .within(option)
            .within("options"));
    }
    if tls.certificate_refs.is_empty() {
        return Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("name a Secret with the certificate: certificateRefs: [{name: edge}]")
            .within("certificateRefs"));
    }
    // A reference to another kind is a status (`InvalidCertificateRef`), as Gateway API has it, not a refusal.
    each("certificateRefs", &tls.certificate_refs, |secret| {
        text::dns_name(&secret.name).within("name")?;
        some("namespace", secret.namespace.as_deref(), text::label)
    })
}

pub(super) fn check_grant(spec: &ReferenceGrantSpec) -> Result<(), Fault> {
    each("from", &spec.from, |from| text::label(&from.namespace).within("namespace"))?;
    each("to", &spec.to, |to| some("name", to.name.as_deref(), text::dns_name))
}
