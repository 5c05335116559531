//! `MeshTrafficPolicy`: how requests are delivered.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text},
    period::Period,
    refs::{NameText, TARGETS_MAX, TargetRef},
    status::PolicyStatus,
};

/// Timeouts, retries, balancing and authentication; of several, the most specific wins, field by field.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "MeshTrafficPolicy",
    plural = "meshtrafficpolicies",
    namespaced,
    category = "strait",
    status = "PolicyStatus",
    doc = "Says how requests are delivered; of several, the most specific wins, field by field.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.timeouts) || has(self.retries) || has(self.balancing) || has(self.authentication)")
        .message("at least one of timeouts, retries, balancing and authentication is needed")
)]
pub struct MeshTrafficPolicySpec {
    /// What it applies to.
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind == 'Service' || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a target is a Service (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)")
    )]
    pub target_refs: List<TargetRef, TARGETS_MAX>,
    /// How long is waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.connect) || has(self.request) || has(self.backendRequest) || has(self.idle)")
            .message("timeouts says at least one thing")
    )]
    pub timeouts: Option<Timeouts>,
    /// What is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Which endpoint is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.algorithm) || has(self.locality)")
            .message("balancing says at least one thing")
    )]
    pub balancing: Option<Balancing>,
    /// How users are authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
}

/// How users are authenticated. A token that is there and not valid is refused in either mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// Whether a request needs a token.
    #[serde(default)]
    pub mode: AuthenticationMode,
    /// The `TokenIssuer`s whose tokens are taken.
    #[schemars(inner(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    )))]
    #[x_kube(
        validation = Rule::new("self.all(i, self.exists_one(j, i == j))").message("an issuer stands there once")
    )]
    pub issuers: List<NameText, 16>,
    /// The protected resource that tokens are for (RFC 9728), a URL; its metadata tells clients where to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+(/[^?#\s]*)?$"))]
    pub resource: Option<Text<1024>>,
}

/// Whether a request needs a token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum AuthenticationMode {
    /// Without one it passes, as nobody's.
    Optional,
    /// Without one it is refused.
    #[default]
    Required,
}

/// How long is waited. Zero is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeouts {
    /// For a connection to an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Period>,
    /// For the whole request, all attempts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Period>,
    /// For one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Period>,
    /// Without a byte in either direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Period>,
}

/// What is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retries {
    /// How often, after the first attempt.
    #[schemars(range(min = 0, max = 10))]
    pub attempts: u8,
    /// Statuses that are tried again; a connection that failed is, without being named.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(validation = Rule::new("self.all(c, c >= 400 && c <= 599)").message("a status that is tried again is 400 to 599"))]
    pub codes: List<u16, 16>,
    /// The wait before the second attempt; it doubles with each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Period>,
}

/// Which endpoint is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Balancing {
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// Whether near ones come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<LocalityPreference>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Algorithm {
    /// The less busy of two chosen by chance.
    LeastRequests,
    /// By chance.
    Random,
    /// One after the other.
    RoundRobin,
}

/// Whether near endpoints come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum LocalityPreference {
    /// The nearest healthy ones are taken.
    Failover,
    /// Distance does not matter.
    Ignore,
}
