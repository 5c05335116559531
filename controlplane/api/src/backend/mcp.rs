//! Servers of MCP.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::upstream::{
    BackendAuth, BackendTls, HOST_FIELDS, HOST_PATTERN, NO_KEY_IN_PUBLIC, ONE_PLACE, PATH_PATTERN,
    PLAIN_OR_TLS, upstream,
};
use crate::{
    bounded::{List, Text},
    refs::{NameText, ServiceRef},
};

/// Most servers of one backend.
pub const SERVERS_MAX: usize = 64;
/// The path of a server's endpoint, where none is written.
pub const MCP_PATH: &str = "/mcp";

/// Servers of MCP, which a caller sees as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpBackend {
    /// The servers. Of one, tools and prompts keep their names; of several, they are named `SERVER_NAME`.
    #[x_kube(
        validation = Rule::new("self.all(s, self.exists_one(t, t.name == s.name))")
            .message("each server has a name of its own")
    )]
    pub servers: List<McpServer, SERVERS_MAX>,
}

/// A server of MCP: a Service, or a host outside the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(ONE_PLACE).message("exactly one of serviceRef and host is needed"),
    validation = Rule::new(HOST_FIELDS).message("port, tls, plaintext and private belong to a host"),
    validation = Rule::new(PLAIN_OR_TLS).message("plaintext and tls exclude each other"),
    validation = Rule::new(NO_KEY_IN_PUBLIC).message("a key is not shown in plain text, unless the host is private")
)]
pub struct McpServer {
    /// Its name, which policies name as `sectionName`.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// The Service that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// The host that serves it: a DNS name or an IPv4 address. It is reached by verified TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HOST_PATTERN))]
    pub host: Option<NameText>,
    /// The host's port; 443 if left out, 80 with `plaintext`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The path of its endpoint; `/mcp` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = PATH_PATTERN))]
    pub path: Option<Text<1024>>,
    /// How the host's certificate is verified; left out, by its name and the roots of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// No TLS to the host: everybody on the way can read and change what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("plaintext is true or left out"))]
    pub plaintext: Option<bool>,
    /// The host may have an address that is not public; else such addresses are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("private is true or left out"))]
    pub private: Option<bool>,
    /// What is shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<BackendAuth>,
}

upstream!(McpServer);

impl McpServer {
    /// The path of its endpoint.
    pub fn endpoint(&self) -> &str {
        self.path.as_deref().unwrap_or(MCP_PATH)
    }
}
