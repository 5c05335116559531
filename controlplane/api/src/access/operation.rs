//! What is done: by port, by HTTP, and by the protocols of agents.

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
    /// A message of A2A.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.methods) || has(self.tenants) || has(self.skills)")
            .message("a2a says at least one thing")
    )]
    pub a2a: Option<A2aOperation>,
    /// A call of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.providers) || has(self.models)").message("llm says at least one thing")
    )]
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

/// Messages of A2A. The fields that are there must hold together; in a list, any item is enough. It brings the
/// agent's card with it, which shows what it names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct A2aOperation {
    /// Methods, by their names in A2A 1.0 (`SendMessage`) or 0.3 (`message/send`), which mean the same.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(m, m in ['SendMessage', 'SendStreamingMessage', 'GetTask', 'ListTasks', 'CancelTask', 'SubscribeToTask', 'CreateTaskPushNotificationConfig', 'GetTaskPushNotificationConfig', 'ListTaskPushNotificationConfigs', 'DeleteTaskPushNotificationConfig', 'GetExtendedAgentCard', 'GetAgentCard', 'message/send', 'message/stream', 'tasks/get', 'tasks/list', 'tasks/cancel', 'tasks/resubscribe', 'tasks/pushNotificationConfig/set', 'tasks/pushNotificationConfig/get', 'tasks/pushNotificationConfig/list', 'tasks/pushNotificationConfig/delete', 'agent/getAuthenticatedExtendedCard'])")
            .message("a method is one of A2A, for example SendMessage")
    )]
    pub methods: List<Text<128>, 64>,
    /// Tenants; `*` at the end stands for the rest.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub tenants: List<Text<256>, 64>,
    /// Skills; `*` at the end stands for the rest. They filter the card, and bind calls where the backend says in
    /// `skillSource` where a message names its skill.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub skills: List<Text<256>, 64>,
}

/// Methods of A2A: the name of 1.0, and that of 0.3 where it has one.
pub const A2A_METHODS: &[(&str, Option<&str>)] = &[
    ("SendMessage", Some("message/send")),
    ("SendStreamingMessage", Some("message/stream")),
    ("GetTask", Some("tasks/get")),
    ("ListTasks", Some("tasks/list")),
    ("CancelTask", Some("tasks/cancel")),
    ("SubscribeToTask", Some("tasks/resubscribe")),
    ("CreateTaskPushNotificationConfig", Some("tasks/pushNotificationConfig/set")),
    ("GetTaskPushNotificationConfig", Some("tasks/pushNotificationConfig/get")),
    ("ListTaskPushNotificationConfigs", Some("tasks/pushNotificationConfig/list")),
    ("DeleteTaskPushNotificationConfig", Some("tasks/pushNotificationConfig/delete")),
    ("GetExtendedAgentCard", Some("agent/getAuthenticatedExtendedCard")),
    // Our name for reading the public card, which is no method of the protocol.
    ("GetAgentCard", None),
];

/// The name in A2A 1.0 of a method that is written in either version's way.
pub fn a2a_method(text: &str) -> Option<&'static str> {
    A2A_METHODS.iter().find(|(new, old)| *new == text || *old == Some(text)).map(|(new, _)| *new)
}

/// Calls of models. The fields that are there must hold together; in a list, any item is enough. It brings the list
/// of models with it, which shows what it names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmOperation {
    /// The providers that are really used, by their names in the backend; `*` at the end stands for the rest.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub providers: List<Text<256>, 64>,
    /// The models that are really used, by the provider's own names; `*` at the end stands for the rest.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub models: List<Text<256>, 64>,
}
