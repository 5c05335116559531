//! Agent backends: things to talk to that are not Kubernetes Services.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{BackendTarget, Traffic};
use crate::names::{Hostname, ObjectName, SetName};

/// One AgentBackend. One that cannot be realised says why; of what stands behind it, what is not there is `Broken`
/// and costs only itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// The object.
    pub name: ObjectName,
    /// The names that workloads dial.
    pub hostnames: Vec<Hostname>,
    /// What it is.
    pub kind: BackendKind,
    /// The policies; where none speaks, nobody may.
    pub set: SetName,
    /// How it is delivered.
    pub traffic: Traffic,
    /// Which of its tools were approved.
    pub catalogue: Option<ObjectName>,
    /// Set: it answers 503, for this reason.
    pub broken: Option<Arc<str>>,
}

/// What an agent backend is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum BackendKind {
    /// Servers of the Model Context Protocol.
    Mcp {
        /// The servers. Of several, tools and prompts are named `<server>_<name>`.
        servers: Vec<McpServer>,
    },
    /// An agent that speaks A2A.
    A2a {
        /// Where it is.
        target: BackendTarget,
        /// A JSON pointer into a call's parameters at which the skill is said.
        skill_pointer: Option<Arc<str>>,
    },
    /// Models.
    Llm {
        /// A group is tried when the one before it fails.
        groups: Vec<LlmGroup>,
    },
    /// One host outside the mesh, as it is.
    Host {
        /// Where it is.
        target: BackendTarget,
        /// What is shown to it.
        auth: Option<UpstreamAuth>,
    },
}

/// Providers that are tried in an order made by chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmGroup {
    /// The providers.
    pub providers: Vec<LlmProvider>,
}

/// One provider of models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LlmProvider {
    /// Its name, unique in the backend.
    pub name: Arc<str>,
    /// What it speaks.
    pub api: LlmApi,
    /// Where it is.
    pub target: BackendTarget,
    /// Goes before the API's own paths; `/v1` where the object says nothing.
    pub path_prefix: Arc<str>,
    /// What is shown to it.
    pub auth: Option<UpstreamAuth>,
    /// Its models, by the names under which they are asked for. Empty: any, under its own name.
    pub models: BTreeMap<Arc<str>, Arc<str>>,
}

/// What a provider of models speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LlmApi {
    /// OpenAI's: chat completions, responses, embeddings.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

/// What a gateway shows to an upstream in place of its callers' credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamAuth {
    /// The Secret.
    pub secret: ObjectName,
    /// The key in it.
    pub key: Arc<str>,
    /// How it is shown.
    pub scheme: AuthScheme,
}

/// How a secret is shown to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AuthScheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// As the value of this header.
    Header(Arc<str>),
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpServer {
    /// Its name, unique in the backend.
    pub name: Arc<str>,
    /// Where it is.
    pub target: BackendTarget,
    /// The path of its endpoint.
    pub path: Arc<str>,
    /// What is shown to it.
    pub auth: Option<UpstreamAuth>,
}
