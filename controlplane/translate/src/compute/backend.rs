//! AgentBackends: a name to dial, the Gateway that serves it, and the servers behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::{Name, Resource as Object, backend::AgentBackendSpec};
use mesh::{
    names::{Hostname, ServiceKey},
    resource::{
        Backend, BackendKind, BackendTarget, Balancing, Binding, McpServer, Protocol, Resource, Service,
        ServicePort,
    },
};

use super::traffic;
use crate::{
    access,
    addresses::Owner,
    attach, backing,
    made::Made,
    names::{self, created},
    reader::Reader,
    references::BackendReference,
    sets,
    status::{self, ConditionKind, Conditions, Fault, Status},
};

/// The port on which a backend's name is dialled.
const PORT: u16 = 80;
/// The path of a server that says none.
const MCP_PATH: &str = "/mcp";

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<AgentBackendSpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let spec = &object.spec;
    let mut made = Made::default();
    let gateway = backing::gateway(reader, name, spec);
    let rival = hostname_conflict(reader, name, spec);
    let servers = servers(reader, name, spec);
    let address = reader.address(&Owner::Object(name.clone()), None);
    let unserved = gateway.as_ref().err().cloned();
    let unresolved = servers.as_ref().err().cloned();
    let accepted = status::first([rival.clone(), unserved.clone(), address.as_ref().err().cloned()]);
    let broken = status::first([accepted.clone(), unresolved.clone()]);

    let policies = access::within(reader, &name.namespace);
    let named: Vec<String> = spec
        .mcp
        .iter()
        .flat_map(|mcp| mcp.servers.iter())
        .map(|server| server.name.as_str().to_owned())
        .collect();
    let set = sets::backend(reader, &policies, name, &object.metadata.labels, named);
    let hostnames: Vec<Hostname> =
        spec.hostnames.iter().map(|hostname| hostname.to_ascii_lowercase().into()).collect();
    if rival.is_none()
        && let (Ok(address), Some(first)) = (&address, hostnames.first())
    {
        let binding = match &gateway {
            Ok(gateway) => Binding::Through(gateway.service.clone()),
            // There never was another way to it.
            Err(fault) => Binding::Missing(fault.message.as_str().into()),
        };
        let port = ServicePort {
            name: "mcp".into(),
            protocol: Protocol::Mcp,
            set: set.name.clone(),
            traffic: traffic::of_backend(reader, name, gateway.as_ref().ok()),
            backend: Some(names::object(name)),
        };
        made.add(Resource::Service(Arc::new(Service {
            key: ServiceKey { namespace: name.namespace.as_str().into(), hostname: first.clone() },
            name: name.name.as_str().into(),
            aliases: hostnames[1..].to_vec(),
            addresses: vec![(*address).into()],
            ports: BTreeMap::from([(PORT, port)]),
            binding,
            balancing: Balancing::default(),
            exported_to: BTreeSet::new(),
            identities: Vec::new(),
        })));
    }
    made.add(Resource::Backend(Arc::new(Backend {
        name: names::object(name),
        hostnames: if rival.is_none() { hostnames } else { Vec::new() },
        kind: BackendKind::Mcp { servers: servers.unwrap_or_default() },
        set: set.name.clone(),
        traffic: traffic::of_backend(reader, name, gateway.as_ref().ok()),
        catalogue: None,
        broken: broken.as_ref().map(|fault| fault.message.as_str().into()),
    })));
    made.add(Resource::PolicySet(Arc::new(set)));

    let silent =
        gateway.as_ref().ok().filter(|gateway| !reader.serving(&gateway.name)).map(|gateway| {
            Fault::new("GatewayNotServing", format!("no proxy of {} is connected", gateway.name))
        });
    let programmed = status::first([broken, silent]);
    made.status = Some((
        name.clone(),
        Status {
            conditions: vec![
                conditions.judge(ConditionKind::Accepted, accepted.as_ref(), "the backend is served"),
                conditions.judge(ConditionKind::ResolvedRefs, unresolved.as_ref(), "its servers are there"),
                conditions.judge(
                    ConditionKind::Programmed,
                    programmed.as_ref(),
                    "sent to the Gateway that serves it",
                ),
            ],
            kind: Some("mcp".into()),
            served_by: gateway
                .ok()
                .map(|gateway| format!("{}/{}", gateway.name.namespace, gateway.name.name)),
            addresses: address.iter().map(ToString::to_string).collect(),
            ..Status::default()
        },
    ));
    made
}

/// Of two backends with one name, the older has it.
fn hostname_conflict(reader: &Reader<'_>, name: &Name, spec: &AgentBackendSpec) -> Option<Fault> {
    let age = |name: &Name| reader.object(name).map(created);
    let own = (age(name), name);
    for (other, backend) in reader.backends() {
        if (age(other), other) < own
            && let Some(shared) =
                backend.spec.hostnames.iter().find(|theirs| spec.hostnames.iter().any(|ours| ours == *theirs))
        {
            return Some(Fault::new(
                "HostnameConflict",
                format!("{shared} is the name of {other}: take another"),
            ));
        }
    }
    None
}

fn servers(reader: &Reader<'_>, name: &Name, spec: &AgentBackendSpec) -> Result<Vec<McpServer>, Fault> {
    let not_built = |what: &str| Fault::new("NotBuiltYet", format!("{what} is not built yet"));
    let Some(mcp) = &spec.mcp else {
        return Err(not_built("a backend other than mcp"));
    };
    let [server] = &*mcp.servers else {
        return Err(not_built("a backend of several servers"));
    };
    let Some(to) = &server.service_ref else {
        return Err(not_built("a server that is no Service"));
    };
    if server.tls.is_some() || server.auth.is_some() {
        return Err(not_built("tls or auth of a server"));
    }
    let target = attach::backend(
        reader,
        name,
        &BackendReference {
            group: "",
            kind: "Service",
            namespace: to.namespace.as_ref().map_or(&name.namespace, |namespace| namespace.as_str()),
            name: to.name.as_str(),
            port: Some(to.port),
        },
    )?;
    let path = server.path.as_ref().map_or(MCP_PATH, |path| path.as_str()).into();
    let target: BackendTarget = target.target;
    Ok(vec![McpServer { name: server.name.as_str().into(), target, path, auth: None }])
}
