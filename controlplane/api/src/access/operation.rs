//! What is done: by port, by HTTP, by MCP and by what is not built yet.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{limits::EXPRESSION_MAX, mcp::McpOperation};
use crate::{
    bounded::{List, Text},
    refs::NameText,
};

/// What is done. The fields that are there must hold together; in a list, any item is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Ports of the workload.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(validation = Rule::new("self.all(p, p >= 1 && p <= 65535)").message("a port is 1 to 65535"))]
    pub ports: List<u16, 64>,
    /// A request of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.methods) || has(self.paths) || has(self.hosts) || has(self.headers)")
            .message("http says at least one thing")
    )]
    pub http: Option<HttpOperation>,
    /// A message of MCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.tools) || has(self.prompts) || has(self.resources) || has(self.methods)")
            .message("mcp says at least one thing")
    )]
    pub mcp: Option<McpOperation>,
    /// A message of A2A. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a: Option<A2aOperation>,
    /// A call of a model. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmOperation>,
}

/// A request of HTTP. The fields that are there must hold together; in a list, any item is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpOperation {
    /// Methods, in upper case.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Z]+(-[A-Z]+)*$")))]
    pub methods: List<Text<64>, 16>,
    /// Paths.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub paths: List<PathMatch, 16>,
    /// Hosts without a port; `*.example.com` is every name below `example.com`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    )))]
    pub hosts: List<NameText, 64>,
    /// Headers; all are needed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub headers: List<HeaderTerm, 8>,
}

/// A path: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.exact), has(self.prefix), has(self.pattern)].filter(x, x).size() == 1")
        .message("exactly one of exact, prefix and pattern is needed")
)]
pub struct PathMatch {
    /// This path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub exact: Option<Text<1024>>,
    /// This path and all below it, by whole segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub prefix: Option<Text<1024>>,
    /// A regular expression (RE2) over the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Text<EXPRESSION_MAX>>,
}

/// A header: its name and exactly one of the other fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.exact), has(self.prefix), has(self.pattern)].filter(x, x).size() == 1")
        .message("exactly one of exact, prefix and pattern is needed")
)]
pub struct HeaderTerm {
    /// The header's name; upper and lower case are the same.
    #[schemars(regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: Text<256>,
    /// This value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Text<4096>>,
    /// A value that begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Text<4096>>,
    /// A regular expression (RE2) over the whole value; `.*` is every value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Text<EXPRESSION_MAX>>,
}

/// Messages of A2A. Not built yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct A2aOperation {
    /// Methods.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub methods: List<Text<128>, 64>,
    /// Tenants.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub tenants: List<Text<256>, 64>,
    /// Skills.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub skills: List<Text<256>, 64>,
}

/// Calls of models. Not built yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmOperation {
    /// Providers.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub providers: List<Text<256>, 64>,
    /// Models.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub models: List<Text<256>, 64>,
}
