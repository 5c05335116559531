//! Checks of `AgentBackend`.

use api::backend::{A2aBackend, AgentBackendSpec, LlmBackend, LlmEndpoint, LlmProvider, McpBackend};

use super::{
    fault::{Fault, Within, each, not_yet, some, unique},
    text,
    upstream::{check_auth, check_upstream},
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
    not_yet("allowDirect", spec.allow_direct.as_ref(), "take it out")?;
    some("catalogRef", spec.catalog_ref.as_ref(), |catalog| text::dns_name(&catalog.name).within("name"))?;
    if spec.catalog_ref.is_some() && spec.mcp.is_none() {
        return Err(Fault::conflict("stands there without mcp, and only MCP has tools")
            .remedy("take it out")
            .within("catalogRef"));
    }
    some("mcp", spec.mcp.as_ref(), check_mcp)?;
    some("a2a", spec.a2a.as_ref(), check_a2a)?;
    some("llm", spec.llm.as_ref(), check_llm)?;
    some("host", spec.host.as_ref(), |host| {
        check_upstream(&host.upstream())?;
        check_auth(host.auth.as_ref(), &host.upstream())
    })
}

fn check_mcp(mcp: &McpBackend) -> Result<(), Fault> {
    unique("servers", &mcp.servers, |server| Some(server.name.as_str()), "server")?;
    each("servers", &mcp.servers, |server| {
        text::label(&server.name).within("name")?;
        check_upstream(&server.upstream())?;
        check_auth(server.auth.as_ref(), &server.upstream())?;
        some("path", server.path.as_deref(), text::path)
    })
}

fn check_a2a(a2a: &A2aBackend) -> Result<(), Fault> {
    check_upstream(&a2a.upstream())?;
    some("skillSource", a2a.skill_source.as_ref(), |source| {
        text::json_pointer(&source.pointer).within("pointer")
    })
}

fn check_llm(llm: &LlmBackend) -> Result<(), Fault> {
    // One list of all, since a name counts in the whole backend; each knows where it stands.
    let mut seen: Vec<&str> = Vec::new();
    for (at, group) in llm.groups.iter().enumerate() {
        for (index, provider) in group.providers.iter().enumerate() {
            if seen.contains(&provider.name.as_str()) {
                return Err(Fault::conflict(format!("provider {} stands there twice", provider.name))
                    .remedy("give each a name of its own, also in different groups")
                    .within("name")
                    .item(index)
                    .within("providers")
                    .item(at)
                    .within("groups"));
            }
            seen.push(provider.name.as_str());
        }
    }
    each("groups", &llm.groups, |group| each("providers", &group.providers, check_provider))
}

fn check_provider(provider: &LlmProvider) -> Result<(), Fault> {
    text::label(&provider.name).within("name")?;
    if provider.openai.is_some() == provider.anthropic.is_some() {
        let what = if provider.openai.is_some() { "both" } else { "neither" };
        return Err(Fault::conflict(format!("has {what} of openai and anthropic"))
            .remedy("write the one whose API it speaks"));
    }
    let check_endpoint = |endpoint: &LlmEndpoint| {
        check_upstream(&endpoint.upstream())?;
        some("pathPrefix", endpoint.path_prefix.as_deref(), text::path)
    };
    some("openai", provider.openai.as_ref(), check_endpoint)?;
    some("anthropic", provider.anthropic.as_ref(), check_endpoint)?;
    match provider.endpoint() {
        Some((_, endpoint)) => check_auth(provider.auth.as_ref(), &endpoint.upstream()),
        None => Ok(()),
    }
}
