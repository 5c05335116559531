//! Who serves an AgentBackend.

use api::{Kind, Name, backend::AgentBackendSpec};

use crate::{
    binding::{Bound, Gateway},
    reader::Reader,
    status::Fault,
};

/// The Gateway that serves a backend: the one it names, else the waypoint of its namespace.
pub(crate) fn gateway<'w>(
    reader: &Reader<'w>,
    name: &Name,
    spec: &AgentBackendSpec,
) -> Result<Gateway<'w>, Fault> {
    let none = |message: String| Fault::new("NoGateway", message);
    let gateway = match &spec.gateway_ref {
        Some(to) => {
            let namespace =
                to.namespace.as_ref().map_or(name.namespace.as_str(), |namespace| namespace.as_str());
            let gateway = Name::new(Kind::Gateway, namespace, to.name.as_str());
            Gateway::find(reader, &gateway).map_err(|fault| none(fault.message))?
        }
        None => match Bound::of_namespace(reader, &name.namespace) {
            Bound::Through { gateway, .. } => *gateway,
            Bound::Pending { gateway, .. } | Bound::Missing { gateway, .. } => {
                Gateway::find(reader, &gateway).map_err(|fault| none(fault.message))?
            }
            Bound::No => {
                return Err(none(format!(
                    "nobody serves it: say spec.gatewayRef, or label namespace {} strait.dev/use-waypoint",
                    name.namespace
                )));
            }
        },
    };
    if !gateway.accepts_tunnels() {
        return Err(none(format!(
            "{} accepts no tunnels, so nobody in the mesh could reach it",
            gateway.name
        )));
    }
    if !gateway.admits(reader, gateway.tunnel_listener(), &name.namespace) {
        return Err(none(format!(
            "the listeners of {} do not allow namespace {}",
            gateway.name, name.namespace
        )));
    }
    Ok(gateway)
}
