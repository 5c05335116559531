//! Models, and the providers that serve them.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::upstream::{
    BackendAuth, BackendTls, HOST_FIELDS, HOST_PATTERN, ONE_PLACE, PATH_PATTERN, PLAIN_OR_TLS, upstream,
};
use crate::{
    bounded::{List, Map, Text},
    refs::{NameText, ServiceRef},
};

/// What goes before the paths of a provider's API, where nothing is written.
pub const LLM_PATH_PREFIX: &str = "/v1";
/// The header in which Anthropic's API takes its key.
pub const ANTHROPIC_HEADER: &str = "x-api-key";

/// Models. Callers speak OpenAI's or Anthropic's API, whichever the provider speaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmBackend {
    /// A group is tried when the one before it fails.
    #[x_kube(
        validation = Rule::new("self.all(g, g.providers.all(p, self.exists_one(h, h.providers.exists(q, q.name == p.name)) && g.providers.exists_one(q, q.name == p.name)))")
            .message("each provider of a backend has a name of its own")
    )]
    pub groups: List<LlmGroup, 8>,
}

/// Providers of equal rank: one is chosen by chance, then the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmGroup {
    /// The providers.
    pub providers: List<LlmProvider, 16>,
}

/// A provider of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.openai) != has(self.anthropic)")
        .message("exactly one of openai and anthropic is needed"),
    validation = Rule::new("!has(self.auth) || !(has(self.openai) && has(self.openai.plaintext) && !has(self.openai.private) || has(self.anthropic) && has(self.anthropic.plaintext) && !has(self.anthropic.private))")
        .message("a key is not shown in plain text, unless the host is private")
)]
pub struct LlmProvider {
    /// Its name, by which policies name it.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// It speaks OpenAI's API, as many providers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openai: Option<LlmEndpoint>,
    /// It speaks Anthropic's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anthropic: Option<LlmEndpoint>,
    /// What is shown to it: as a bearer token; by Anthropic's API in the header `x-api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<BackendAuth>,
    /// Its models: by the name under which one is asked for, the provider's own name. Left out, it serves any
    /// model, under its own name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub models: Map<Text<256>, 64>,
}

impl LlmProvider {
    /// What it speaks, and where.
    pub fn endpoint(&self) -> Option<(LlmApi, &LlmEndpoint)> {
        let openai = self.openai.as_ref().map(|endpoint| (LlmApi::OpenAi, endpoint));
        openai.or_else(|| self.anthropic.as_ref().map(|endpoint| (LlmApi::Anthropic, endpoint)))
    }
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LlmApi {
    /// OpenAI's API.
    OpenAi,
    /// Anthropic's API.
    Anthropic,
}

/// Where a provider is: a Service, or a host outside the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(ONE_PLACE).message("exactly one of serviceRef and host is needed"),
    validation = Rule::new(HOST_FIELDS).message("port, tls, plaintext and private belong to a host"),
    validation = Rule::new(PLAIN_OR_TLS).message("plaintext and tls exclude each other")
)]
pub struct LlmEndpoint {
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
    /// What goes before the paths of the API; `/v1` if left out, `/` for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = PATH_PATTERN))]
    pub path_prefix: Option<Text<256>>,
}

upstream!(LlmEndpoint);

impl LlmEndpoint {
    /// What goes before the paths of the API, without a slash at its end.
    pub fn prefix(&self) -> &str {
        self.path_prefix.as_deref().unwrap_or(LLM_PATH_PREFIX).trim_end_matches('/')
    }
}
