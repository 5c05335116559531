//! Listeners of a Gateway: what each does or why it cannot, and what is told of it.

use api::{
    Kind, Name,
    gateway::{GATEWAY_GROUP, GatewayListener, ListenerTls, SecretObjectRef, TlsMode},
};
use mesh::{names::ObjectName, resource::ListenerRole};

use crate::{
    attach::{self, Place},
    binding::{Class, Gateway, TUNNEL_PROTOCOL, is_edge, is_tunnel},
    names,
    reader::Reader,
    references, secrets,
    settings::TUNNEL_PORT,
    status::{self, ConditionKind, Conditions, Fault, ListenerStatus, RouteKind, Truth},
};

/// A listener, and what is to be said of it.
pub(super) struct Checked<'w> {
    pub(super) listener: &'w GatewayListener,
    /// What it does; none if it serves nobody.
    pub(super) role: Option<ListenerRole>,
    unaccepted: Option<Fault>,
    conflict: Option<Fault>,
    unresolved: Option<Fault>,
}

/// Checks every listener of a Gateway, by itself and beside the others.
pub(super) fn check<'w>(reader: &Reader<'_>, gateway: &Gateway<'w>) -> Vec<Checked<'w>> {
    let all = gateway.spec.map_or(&[][..], |spec| &spec.listeners);
    all.iter().map(|listener| one(reader, gateway, listener, all)).collect()
}

fn one<'w>(
    reader: &Reader<'_>,
    gateway: &Gateway<'w>,
    listener: &'w GatewayListener,
    all: &[GatewayListener],
) -> Checked<'w> {
    let unaccepted = unsupported(gateway, listener);
    let conflict = conflict(listener, all);
    let mut certificates = Vec::new();
    let unnamed = match &listener.tls {
        Some(tls) => named(reader, &gateway.name, tls, &mut certificates),
        None => None,
    };
    let bare = listener.protocol.as_str() == "HTTPS" && certificates.is_empty() && unnamed.is_none();
    let bare = bare.then(|| {
        Fault::new("InvalidCertificateRef", "it has no certificate: name a Secret in tls.certificateRefs")
    });
    let role = match (&unaccepted, &conflict) {
        (None, None) => role(gateway.class, listener, certificates),
        _ => None,
    };
    let unresolved = status::first([unnamed, bare, foreign_kind(listener)]);
    Checked { listener, role, unaccepted, conflict, unresolved }
}

/// What a valid listener does. Without a certificate nobody can be served by TLS.
fn role(class: Class, listener: &GatewayListener, certificates: Vec<ObjectName>) -> Option<ListenerRole> {
    match (class, listener.protocol.as_str()) {
        (Class::EastWest, _) => Some(ListenerRole::EastWest),
        (_, "HTTP") => Some(ListenerRole::Http),
        (_, "HTTPS") => (!certificates.is_empty()).then_some(ListenerRole::Https { certificates }),
        _ => Some(ListenerRole::Waypoint),
    }
}

fn unsupported(gateway: &Gateway<'_>, listener: &GatewayListener) -> Option<Fault> {
    let protocol = listener.protocol.as_str();
    let edge = gateway.class == Class::NorthSouth && is_edge(listener);
    if !edge && !is_tunnel(listener) {
        let wanted = match gateway.class {
            Class::NorthSouth => format!("HTTP, HTTPS and {TUNNEL_PROTOCOL} are"),
            Class::Waypoint | Class::EastWest => format!("{TUNNEL_PROTOCOL} is"),
        };
        let message = format!("protocol {protocol} is not spoken by a Gateway of its class: {wanted}");
        return Some(Fault::new("UnsupportedProtocol", message));
    }
    if edge && listener.port == TUNNEL_PORT {
        let message = format!("port {TUNNEL_PORT} is that of tunnels: take another");
        return Some(Fault::new("PortUnavailable", message));
    }
    match &listener.tls {
        Some(_) if protocol != "HTTPS" => {
            Some(Fault::new("UnsupportedValue", format!("tls belongs to HTTPS, not to {protocol}")))
        }
        Some(tls) if tls.mode == TlsMode::Passthrough => {
            Some(Fault::new("NotBuiltYet", "tls.mode Passthrough is not built yet: write Terminate"))
        }
        _ => None,
    }
}

/// Two listeners that nothing tells apart serve nobody, both of them (Gateway API: none may be picked as the winner).
fn conflict(listener: &GatewayListener, all: &[GatewayListener]) -> Option<Fault> {
    let hostname = |listener: &GatewayListener| {
        listener.hostname.as_ref().map(|name| name.to_ascii_lowercase()).unwrap_or_default()
    };
    let beside = all.iter().filter(|other| other.name != listener.name && other.port == listener.port);
    for other in beside {
        if other.protocol != listener.protocol {
            let message = format!("{} speaks {} on the same port", other.name, other.protocol.as_str());
            return Some(Fault::new("ProtocolConflict", message));
        }
        if hostname(other) == hostname(listener) {
            let message = format!("{} has the same port and hostname", other.name);
            return Some(Fault::new("HostnameConflict", message));
        }
    }
    None
}

/// Collects the certificates that can be served, and says what keeps the first other one from it.
fn named(
    reader: &Reader<'_>,
    gateway: &Name,
    tls: &ListenerTls,
    certificates: &mut Vec<ObjectName>,
) -> Option<Fault> {
    let mut fault = None;
    for to in tls.certificate_refs.iter() {
        match certificate(reader, gateway, to) {
            Ok(name) => certificates.push(name),
            Err(why) => drop(fault.get_or_insert(why)),
        }
    }
    fault
}

fn certificate(reader: &Reader<'_>, gateway: &Name, to: &SecretObjectRef) -> Result<ObjectName, Fault> {
    let refuse = |message: String| Fault::new("InvalidCertificateRef", message);
    let name = references::certificate(&gateway.namespace, to).ok_or_else(|| {
        refuse(format!("a certificate is in a Secret, not in {} of {:?}", to.kind.as_str(), to.group))
    })?;
    if name.namespace != gateway.namespace && !attach::granted(reader, gateway, &name) {
        return Err(Fault::new(
            "RefNotPermitted",
            format!(
                "no ReferenceGrant in namespace {} lets a Gateway of namespace {} name {name}",
                name.namespace, gateway.namespace
            ),
        ));
    }
    let secret = reader
        .secret(&name.namespace, &name.name)
        .ok_or_else(|| refuse(format!("there is no {name}: make it, of type {}", secrets::TLS_TYPE)))?;
    secrets::check_certificate(secret)?;
    Ok(names::object(&name))
}

fn foreign_kind(listener: &GatewayListener) -> Option<Fault> {
    let mut kinds = listener.allowed_routes.iter().flat_map(|allowed| allowed.kinds.iter());
    let foreign = kinds.find(|kind| !(kind.group == GATEWAY_GROUP && kind.kind.as_str() == "HTTPRoute"))?;
    let message = format!("{} of {:?} is no kind of route that is served here", foreign.kind, foreign.group);
    Some(Fault::new("InvalidRouteKinds", message))
}

impl Checked<'_> {
    /// True if it serves.
    pub(super) fn is_valid(&self) -> bool {
        self.role.is_some()
    }

    pub(super) fn told(
        &self,
        reader: &Reader<'_>,
        conditions: Conditions,
        gateway: &Gateway<'_>,
    ) -> ListenerStatus {
        let unaccepted = status::first([self.unaccepted.clone(), self.conflict.clone()]);
        let silent = (!self.is_valid()).then(|| {
            let why = status::first([unaccepted.clone(), self.unresolved.clone()]);
            Fault::new("Invalid", why.map_or_else(String::new, |fault| fault.message))
        });
        let mut told = vec![
            conditions.judge(ConditionKind::Accepted, unaccepted.as_ref(), "the listener is valid"),
            conditions.judge(
                ConditionKind::ResolvedRefs,
                self.unresolved.as_ref(),
                "everything it names is there",
            ),
            conditions.judge(ConditionKind::Programmed, silent.as_ref(), "sent to the Gateway's proxies"),
        ];
        told.extend(self.conflict.as_ref().map(|fault| {
            conditions.make(ConditionKind::Conflicted, Truth::True, fault.reason, fault.message.clone())
        }));
        ListenerStatus {
            name: self.listener.name.as_str().to_owned(),
            supported_kinds: self.kinds(gateway),
            attached_routes: self.attached(reader, gateway),
            conditions: told,
        }
    }

    /// The kinds of routes that may be attached: those that it allows and that are served here.
    fn kinds(&self, gateway: &Gateway<'_>) -> Vec<RouteKind> {
        let allowed = self.listener.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
        let ours = allowed.is_empty() || allowed.iter().any(|kind| kind.kind.as_str() == "HTTPRoute");
        let serves = gateway.class != Class::EastWest && self.unaccepted.is_none() && ours;
        let kind = || RouteKind { group: GATEWAY_GROUP, kind: Kind::HttpRoute.as_str() };
        serves.then(kind).into_iter().collect()
    }

    fn attached(&self, reader: &Reader<'_>, gateway: &Gateway<'_>) -> u32 {
        let here = |place: &Place<'_>| match place {
            Place::Listeners { gateway: at, listeners, .. } => {
                at.name == gateway.name && listeners.iter().any(|own| own.name == self.listener.name)
            }
            Place::Service { .. } => false,
        };
        let attached = reader.routes().filter(|(name, route)| {
            let attachments = attach::attachments(reader, name, route);
            attachments.iter().any(|attached| attached.place.as_ref().is_ok_and(here))
        });
        u32::try_from(attached.count()).unwrap_or(u32::MAX)
    }
}
