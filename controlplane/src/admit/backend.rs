//! Checks of `AgentBackend`.

use api::backend::{AgentBackendSpec, McpBackend, McpServer};

use super::{
    fault::{Fault, Within, each, not_yet, some, unique},
    text,
};

/// Names below these are Services' own.
const SERVICE_NAMES: [&str; 2] = [".cluster.local", ".clusterset.local"];

pub(super) fn check(spec: &AgentBackendSpec) -> Result<(), Fault> {
    unique("hostnames", &spec.hostnames, |name| Some(name.as_str()), "host")?;
    each("hostnames", &spec.hostnames, |name| {
        if !text::is_dns_name(name) || !name.contains('.') {
            return Err(Fault::invalid(format!("{name:?} is not a host of a backend"))
                .remedy("write a lower case DNS name with at least one dot, for example toolbox.shop.mesh"));
        }
        match SERVICE_NAMES.iter().find(|suffix| name.ends_with(**suffix)) {
            None => Ok(()),
            Some(suffix) => Err(Fault::conflict(format!("names below {suffix} are those of Services"))
                .remedy("choose another, for example toolbox.shop.mesh")),
        }
    })?;
    some("gatewayRef", spec.gateway_ref.as_ref(), |gateway| {
        text::dns_name(&gateway.name).within("name")?;
        some("namespace", gateway.namespace.as_deref(), text::label)
    })?;
    let written = [spec.mcp.is_some(), spec.a2a.is_some(), spec.llm.is_some(), spec.host.is_some()]
        .iter()
        .filter(|w| **w)
        .count();
    if written != 1 {
        let what = if written == 0 { "none" } else { "several" };
        return Err(
            Fault::conflict(format!("has {what} of mcp, a2a, llm, host")).remedy("write exactly one of them")
        );
    }
    not_yet("a2a", spec.a2a.as_ref(), "only mcp is")?;
    not_yet("llm", spec.llm.as_ref(), "only mcp is")?;
    not_yet("host", spec.host.as_ref(), "only mcp is")?;
    not_yet("allowDirect", spec.allow_direct.as_ref(), "take it out")?;
    some("mcp", spec.mcp.as_ref(), check_mcp)
}

fn check_mcp(mcp: &McpBackend) -> Result<(), Fault> {
    unique("servers", &mcp.servers, |server| Some(server.name.as_str()), "server")?;
    if mcp.servers.len() > 1 {
        return Err(Fault::not_built_yet("several servers in one backend")
            .remedy("give each an AgentBackend of its own")
            .within("servers"));
    }
    each("servers", &mcp.servers, check_server)
}

fn check_server(server: &McpServer) -> Result<(), Fault> {
    text::label(&server.name).within("name")?;
    if server.service_ref.is_some() == server.host.is_some() {
        let what = if server.host.is_some() { "both" } else { "neither" };
        return Err(Fault::conflict(format!("has {what} of serviceRef and host")).remedy("write serviceRef"));
    }
    not_yet("host", server.host.as_ref(), "write serviceRef")?;
    not_yet("port", server.port.as_ref(), "the port of a Service stands in serviceRef")?;
    not_yet("tls", server.tls.as_ref(), "the mesh encrypts the way to a Service by itself")?;
    not_yet("auth", server.auth.as_ref(), "take it out")?;
    some("serviceRef", server.service_ref.as_ref(), |service| {
        text::label(&service.name).within("name")?;
        some("namespace", service.namespace.as_deref(), text::label)?;
        text::port(service.port).within("port")
    })?;
    some("path", server.path.as_deref(), text::absolute_path)
}
