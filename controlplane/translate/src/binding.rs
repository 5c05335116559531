//! Through which waypoint a thing is reached (DESIGN 4.3): what its labels ask for, and what can be had.
//!
//! A binding is pending until its Gateway was programmed once: until then nothing changes for callers. From
//! then on a Gateway that is missing is a refusal, and only a change of the label ends that.

use api::{
    Kind, Name,
    bounded::Texts,
    gateway::{CLASS_EAST_WEST, CLASS_GATEWAY, CLASS_WAYPOINT, FromNamespaces, GatewayListener, GatewaySpec},
};
use mesh::{identity::Identity, names::ServiceKey, resource::Binding};

use crate::{
    labels::{AUTO_WAYPOINT, Label, USE_WAYPOINT},
    names,
    reader::Reader,
    status::Fault,
    world::Mark,
};

/// What a listener that accepts tunnels says as its protocol.
pub(crate) const TUNNEL_PROTOCOL: &str = "HBONE";
/// The same, and as Gateway API wants names of implementations written.
const TUNNEL_PROTOCOLS: [&str; 2] = [TUNNEL_PROTOCOL, "strait.dev/HBONE"];

/// True if a listener accepts tunnels.
pub(crate) fn is_tunnel(listener: &GatewayListener) -> bool {
    TUNNEL_PROTOCOLS.contains(&listener.protocol.as_str())
}

/// True if a listener serves whoever can connect from outside the mesh.
pub(crate) fn is_edge(listener: &GatewayListener) -> bool {
    matches!(listener.protocol.as_str(), "HTTP" | "HTTPS")
}

/// What a Gateway is for, by its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Waypoint,
    EastWest,
    NorthSouth,
}

/// A Gateway of ours, as others see it.
#[derive(Debug, Clone)]
pub(crate) struct Gateway<'w> {
    pub(crate) name: Name,
    pub(crate) class: Class,
    pub(crate) identity: Identity,
    pub(crate) service: ServiceKey,
    /// None: it was made because something says `auto`.
    pub(crate) spec: Option<&'w GatewaySpec>,
}

impl<'w> Gateway<'w> {
    /// Finds a Gateway that is ours.
    pub(crate) fn find(reader: &Reader<'w>, name: &Name) -> Result<Self, Fault> {
        let (class, spec) = match reader.gateway(&name.namespace, &name.name) {
            Some(gateway) => {
                let class = match gateway.spec.gateway_class_name.as_str() {
                    CLASS_WAYPOINT => Class::Waypoint,
                    CLASS_EAST_WEST => Class::EastWest,
                    CLASS_GATEWAY => Class::NorthSouth,
                    other => {
                        return Err(Fault::new(
                            "ClassNotOurs",
                            format!("{name} is of class {other}, which is not ours"),
                        ));
                    }
                };
                (class, Some(&gateway.spec))
            }
            None if name.name == AUTO_WAYPOINT && auto_wanted(reader, &name.namespace) => {
                (Class::Waypoint, None)
            }
            None => {
                return Err(Fault::new(
                    "WaypointNotFound",
                    format!("there is no {name}: make it, or name another in the label {USE_WAYPOINT}"),
                ));
            }
        };
        let settings = reader.settings();
        Ok(Self {
            class,
            identity: names::identity(settings, &name.namespace, &name.name)?,
            service: names::service(settings, &name.namespace, &name.name),
            spec,
            name: name.clone(),
        })
    }

    /// The listener that accepts tunnels; an automatic waypoint has one and does not say so.
    pub(crate) fn tunnel_listener(&self) -> Option<&'w GatewayListener> {
        self.spec?.listeners.iter().find(|listener| is_tunnel(listener))
    }

    /// True if it accepts tunnels.
    pub(crate) fn accepts_tunnels(&self) -> bool {
        self.spec.is_none() || self.tunnel_listener().is_some()
    }

    /// True if things of a namespace may be attached to a listener; None is that of an automatic waypoint.
    pub(crate) fn admits(
        &self,
        reader: &Reader<'_>,
        listener: Option<&GatewayListener>,
        namespace: &str,
    ) -> bool {
        let namespaces = listener.and_then(|listener| listener.allowed_routes.as_ref()?.namespaces.as_ref());
        match namespaces.map_or(FromNamespaces::Same, |namespaces| namespaces.from) {
            FromNamespaces::All => true,
            FromNamespaces::Same => self.name.namespace == namespace,
            FromNamespaces::None => false,
            FromNamespaces::Selector => {
                let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
                let labels = reader.namespace_labels(namespace);
                matches!((selector, labels), (Some(selector), Some(labels)) if selector.matches(labels))
            }
        }
    }
}

/// True if something in a namespace asks for a waypoint to be made.
pub(crate) fn auto_wanted(reader: &Reader<'_>, namespace: &str) -> bool {
    let auto = |labels: &Texts| labels.text(USE_WAYPOINT) == Some("auto");
    reader.namespace_labels(namespace).is_some_and(auto)
        || reader.services_within(namespace).any(|(_, service)| auto(&service.metadata.labels))
        || reader.workloads_within(namespace).any(|(_, workload)| auto(&workload.metadata.labels))
}

/// Whether a thing is reached through a waypoint.
#[derive(Debug, Clone)]
pub(crate) enum Bound<'w> {
    /// It is not.
    No,
    /// It will be, once the Gateway was programmed. Until then nothing changes, but what needs it refuses.
    Pending { gateway: Name, why: Fault },
    /// It is.
    Through { gateway: Box<Gateway<'w>>, mark: Option<Mark> },
    /// It was, and the Gateway is gone: refuse.
    Missing { gateway: Name, why: Fault },
}

impl<'w> Bound<'w> {
    /// How a Service is reached: its own label decides, else that of its namespace.
    pub(crate) fn of_service(reader: &Reader<'w>, name: &Name, labels: &Texts) -> Self {
        match Label::of(labels, &name.namespace) {
            Label::None => Self::No,
            Label::Gateway(gateway) => Self::evaluate(reader, name.clone(), gateway, &name.namespace),
            Label::Absent => Self::of_namespace(reader, &name.namespace),
        }
    }

    /// How what has no label of its own is reached in a namespace.
    pub(crate) fn of_namespace(reader: &Reader<'w>, namespace: &str) -> Self {
        let label =
            reader.namespace_labels(namespace).map_or(Label::Absent, |labels| Label::of(labels, namespace));
        match label {
            Label::Absent | Label::None => Self::No,
            Label::Gateway(gateway) => {
                Self::evaluate(reader, Name::new(Kind::Namespace, "", namespace), gateway, namespace)
            }
        }
    }

    /// How a workload is reached on all ports: only its own label binds it so.
    pub(crate) fn of_workload(reader: &Reader<'w>, name: &Name, labels: &Texts) -> Self {
        match Label::of(labels, &name.namespace) {
            Label::Absent | Label::None => Self::No,
            Label::Gateway(gateway) => Self::evaluate(reader, name.clone(), gateway, &name.namespace),
        }
    }

    fn evaluate(reader: &Reader<'w>, bound: Name, gateway: Name, namespace: &str) -> Self {
        let marked = reader.mark(&bound) == Some(&gateway);
        match waypoint(reader, &gateway, namespace) {
            Ok(found) => {
                let serving = reader.serving(&gateway);
                if serving || marked {
                    let mark = (!marked).then_some(Mark { bound, gateway });
                    return Self::Through { gateway: Box::new(found), mark };
                }
                let why = Fault::new(
                    "WaypointPending",
                    format!("{gateway} was never programmed: no proxy of it has connected yet"),
                );
                Self::Pending { gateway, why }
            }
            Err(why) if marked => Self::Missing { gateway, why },
            Err(why) => Self::Pending { gateway, why },
        }
    }

    /// What is told to those who dial a Service.
    pub(crate) fn binding(&self) -> Binding {
        match self {
            Self::No | Self::Pending { .. } => Binding::None,
            Self::Through { gateway, .. } => Binding::Through(gateway.service.clone()),
            Self::Missing { why, .. } => Binding::Missing(why.message.as_str().into()),
        }
    }

    /// The Gateway, if it is reached through one.
    pub(crate) fn through(&self) -> Option<&Gateway<'w>> {
        match self {
            Self::Through { gateway, .. } => Some(gateway),
            _ => None,
        }
    }

    /// The Gateway that is or will be in the way.
    pub(crate) fn wanted(&self) -> Option<&Name> {
        match self {
            Self::No => None,
            Self::Pending { gateway, .. } | Self::Missing { gateway, .. } => Some(gateway),
            Self::Through { gateway, .. } => Some(&gateway.name),
        }
    }

    /// The mark to keep.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        match self {
            Self::Through { mark, .. } => mark.as_ref(),
            _ => None,
        }
    }
}

/// A Gateway that may be the waypoint of things in a namespace.
fn waypoint<'w>(reader: &Reader<'w>, name: &Name, namespace: &str) -> Result<Gateway<'w>, Fault> {
    let gateway = Gateway::find(reader, name)?;
    if gateway.class != Class::Waypoint {
        return Err(Fault::new("NotAWaypoint", format!("{name} is not of class {CLASS_WAYPOINT}")));
    }
    if !gateway.accepts_tunnels() {
        return Err(Fault::new(
            "NoTunnelListener",
            format!("{name} has no listener with protocol {TUNNEL_PROTOCOL}"),
        ));
    }
    if !gateway.admits(reader, gateway.tunnel_listener(), namespace) {
        return Err(Fault::new(
            "NotAllowedByListeners",
            format!(
                "the listeners of {name} do not allow namespace {namespace}: widen allowedRoutes.namespaces there"
            ),
        ));
    }
    Ok(gateway)
}
