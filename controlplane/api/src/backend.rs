//! `AgentBackend`: something to talk to that is not a Kubernetes Service.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text},
    refs::{NameText, ServiceRef},
    status::Condition,
};

/// A backend that a gateway serves under names of its own.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "AgentBackend",
    namespaced,
    category = "strait",
    status = "AgentBackendStatus",
    doc = "Something to talk to that is not a Kubernetes Service, served by a gateway under names of its own.",
    printcolumn(name = "Type", type_ = "string", json_path = ".status.type"),
    printcolumn(name = "Hostname", type_ = "string", json_path = ".spec.hostnames[0]"),
    printcolumn(name = "Served-By", type_ = "string", json_path = ".status.servedBy"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.mcp), has(self.a2a), has(self.llm), has(self.host)].filter(x, x).size() == 1")
        .message("exactly one of mcp, a2a, llm and host is needed"),
    validation = Rule::new("!has(self.a2a) && !has(self.llm) && !has(self.host)")
        .message("a2a, llm and host are not built yet"),
    validation = Rule::new("!has(self.allowDirect)").message("allowDirect is not built yet")
)]
pub struct AgentBackendSpec {
    /// Names that workloads dial.
    #[schemars(inner(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$"
    )))]
    #[x_kube(
        validation = Rule::new("self.all(h, !h.endsWith('.cluster.local') && !h.endsWith('.clusterset.local'))")
            .message("names under cluster.local and clusterset.local are those of Services"),
        validation = Rule::new("self.all(h, self.exists_one(g, g == h))").message("a hostname stands there once")
    )]
    pub hostnames: List<NameText, 16>,
    /// The gateway that serves it; left out, it is the namespace's waypoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_ref: Option<GatewayRef>,
    /// Servers of MCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpBackend>,
    /// An agent of A2A. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a: Option<A2aBackend>,
    /// Models. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmBackend>,
    /// Another host. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<NameText>,
    /// Whether enrolled pods may reach its hosts by themselves. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_direct: Option<bool>,
}

/// A Gateway.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayRef {
    /// Its name.
    pub name: NameText,
    /// Its namespace, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NameText>,
}

/// Servers of MCP, which a caller sees as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpBackend {
    /// The servers.
    #[x_kube(
        validation = Rule::new("self.all(s, self.exists_one(t, t.name == s.name))")
            .message("each server has a name of its own"),
        validation = Rule::new("size(self) == 1").message("several servers in one backend are not built yet"),
        validation = Rule::new("self.all(s, has(s.serviceRef) != has(s.host))")
            .message("exactly one of serviceRef and host is needed"),
        validation = Rule::new("self.all(s, !has(s.host) && !has(s.port) && !has(s.tls) && !has(s.auth))")
            .message("host, port, tls and auth are not built yet")
    )]
    pub servers: List<McpServer, 64>,
}

/// A server of MCP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpServer {
    /// Its name, which policies name as `sectionName`.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// The Service that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// The host that serves it. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<NameText>,
    /// The host's port. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The path of its endpoint; `/mcp` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub path: Option<Text<1024>>,
    /// TLS to the host. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// What we show to the host. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<BackendAuth>,
}

/// TLS to a host. Not built yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// The name that its certificate must have; the host if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<NameText>,
}

/// What we show to a host. Not built yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendAuth {
    /// The Secret that holds it.
    pub secret_ref: SecretRef,
}

/// A Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// Its name.
    pub name: NameText,
}

/// An agent of A2A. Not built yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct A2aBackend {
    /// The Service that serves it.
    pub service_ref: ServiceRef,
    /// Where a message says which skill it wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill_source: Option<SkillSource>,
}

/// Where a message says which skill it wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SkillSource {
    /// A JSON pointer.
    pub pointer: Text<256>,
}

/// Models. Not built yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmBackend {
    /// A group is tried when the one before it fails.
    pub groups: List<LlmGroup, 8>,
}

/// Providers that are tried together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmGroup {
    /// The providers.
    pub providers: List<LlmProvider, 16>,
}

/// A provider of models. Not built yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmProvider {
    /// Its name.
    pub name: Text<63>,
    /// One that speaks OpenAI's protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<LlmHost>,
    /// What we show to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<BackendAuth>,
    /// Its models, by the names under which they are asked for.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub models: std::collections::BTreeMap<String, Text<256>>,
}

/// A provider's host. Not built yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmHost {
    /// The host.
    pub host: NameText,
}

/// The status of an `AgentBackend`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentBackendStatus {
    /// What it is: `MCP`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub kind: Option<String>,
    /// The gateway that serves it, `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 507))]
    pub served_by: Option<String>,
    /// The addresses that its names resolve to.
    #[serde(default)]
    pub addresses: List<Text<64>, 16, 0>,
    /// What is so.
    #[serde(default)]
    pub conditions: List<Condition, 8, 0>,
}
