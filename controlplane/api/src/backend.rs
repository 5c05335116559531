//! `AgentBackend`: something to talk to that is not a Kubernetes Service.

mod a2a;
mod host;
mod llm;
mod mcp;
pub(crate) mod upstream;

pub use a2a::{A2aBackend, SkillSource};
pub use host::HostBackend;
pub use llm::{ANTHROPIC_HEADER, LLM_PATH_PREFIX, LlmApi, LlmBackend, LlmEndpoint, LlmGroup, LlmProvider};
pub use mcp::{MCP_PATH, McpBackend, McpServer, SERVERS_MAX};
pub use upstream::{
    AUTH_KEY, AuthScheme, BackendAuth, BackendTls, PORT_PLAINTEXT, PORT_TLS, ROOTS_KEY, SecretKeyRef,
    Upstream, UpstreamPlace, UpstreamTls,
};

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text},
    refs::NameText,
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
    validation = Rule::new("!has(self.catalogRef) || has(self.mcp)").message("catalogRef stands beside mcp"),
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
    /// The catalogue of its tools: which were approved, and what they can do. Beside `mcp` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_ref: Option<CatalogRef>,
    /// An agent of A2A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a: Option<A2aBackend>,
    /// Models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmBackend>,
    /// Another host outside the mesh, which speaks HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostBackend>,
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

/// A `ToolCatalog` of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogRef {
    /// Its name.
    pub name: NameText,
}

/// The status of an `AgentBackend`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentBackendStatus {
    /// What it is: `MCP`, `A2A`, `LLM` or `Host`.
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
