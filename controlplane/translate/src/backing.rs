//! Who serves an AgentBackend, and what it speaks.

use api::{Kind, Name, backend::AgentBackendSpec};
use mesh::resource::Protocol;

use crate::{
    attach,
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
    let allowed = gateway.admits(reader, gateway.tunnel_listener(), &name.namespace)
        || attach::granted(reader, name, &gateway.name);
    if !allowed {
        return Err(none(format!(
            "{} does not allow it: widen allowedRoutes.namespaces of its listeners to namespace {}, or make a ReferenceGrant in namespace {}",
            gateway.name, name.namespace, gateway.name.namespace
        )));
    }
    Ok(gateway)
}

/// What a backend speaks, and the word for its type.
pub(crate) fn speaks(spec: &AgentBackendSpec) -> (Protocol, &'static str) {
    if spec.a2a.is_some() {
        (Protocol::A2a, "a2a")
    } else if spec.llm.is_some() {
        (Protocol::Llm, "llm")
    } else if spec.host.is_some() {
        (Protocol::Http, "host")
    } else {
        (Protocol::Mcp, "mcp")
    }
}

/// The parts of a backend that policies can name: its servers.
pub(crate) fn servers(spec: &AgentBackendSpec) -> impl Iterator<Item = &str> {
    spec.mcp.iter().flat_map(|mcp| mcp.servers.iter()).map(|server| server.name.as_str())
}
