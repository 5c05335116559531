//! `QuotaPolicy`: how much may be used.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    access::Mode,
    bounded::{List, Text},
    period::Period,
    refs::{TARGETS_MAX, TargetRef},
    status::PolicyStatus,
};

/// The largest allowance that can be written.
pub const ALLOWANCE_MAX: u64 = 1_000_000_000_000;
/// What is added to the estimate of a prompt, in percent, where nothing is written.
pub const MARGIN: u8 = 20;
/// The output limit of a request that names none, in tokens, where nothing is written.
pub const DEFAULT_OUTPUT: u32 = 1024;
/// The largest output limit that can be written.
pub const DEFAULT_OUTPUT_MAX: u32 = 1_000_000;

/// Says how much may be used at its targets; all on the way apply.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "QuotaPolicy",
    plural = "quotapolicies",
    namespaced,
    category = "strait",
    status = "PolicyStatus",
    doc = "Says how much may be used at its targets; all on the way apply.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"),
    printcolumn(name = "Per", type_ = "string", json_path = ".spec.limits[*].per"),
    printcolumn(name = "Window", type_ = "string", json_path = ".spec.limits[*].window"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
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
pub struct QuotaPolicySpec {
    /// What it applies to.
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind in ['Namespace', 'Service'] || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a target is a Namespace or Service (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)"),
        validation = Rule::new("self.all(t, !has(t.sectionName) || t.kind != 'Namespace')")
            .message("sectionName is a part of a Service, AgentBackend, Gateway or HTTPRoute")
    )]
    pub target_refs: List<TargetRef, TARGETS_MAX>,
    /// Whether it is enforced, or counts and reports only.
    #[serde(default)]
    pub mode: Mode,
    /// The limits; all apply.
    #[x_kube(
        validation = Rule::new("self.all(l, self.exists_one(m, m.name == l.name))")
            .message("each limit has a name of its own")
    )]
    pub limits: List<QuotaLimit, 32>,
}

/// One limit: who shares it, for how long, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.label) == (self.per == 'Label')")
        .message("label is the label of `per: Label`, which needs it"),
    validation = Rule::new("has(self.tokens) != has(self.requests)")
        .message("exactly one of tokens and requests is needed"),
    validation = Rule::new("has(self.tokens) || !(has(self.margin) || has(self.defaultOutput))")
        .message("margin and defaultOutput belong to tokens"),
    validation = Rule::new("!has(self.tokens) || self.tokens >= (has(self.defaultOutput) ? self.defaultOutput : 1024)")
        .message("a request that names no output limit gets defaultOutput (1024 if left out), which is more than tokens")
)]
pub struct QuotaLimit {
    /// Its name, which refusals tell.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// Who shares one allowance.
    pub per: QuotaPer,
    /// The label of service accounts of `Label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
    ))]
    pub label: Option<Text<317>>,
    /// How long an allowance lasts, from its first use: 1s to 24h.
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
            .message("a window is 1s to 24h")
    )]
    pub window: Period,
    /// How many tokens of models, in and out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = ALLOWANCE_MAX))]
    pub tokens: Option<u64>,
    /// How many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = ALLOWANCE_MAX))]
    pub requests: Option<u64>,
    /// What is added to the estimate of a prompt before it is admitted, in percent; 20 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub margin: Option<u8>,
    /// The output limit, in tokens, that a request gets which names none; 1024 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = DEFAULT_OUTPUT_MAX))]
    pub default_output: Option<u32>,
    /// Only calls of these models, by the provider's own name; a name may end in `*`. Left out, of all.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub models: List<Text<256>, 64>,
}

impl QuotaLimit {
    /// What is added to the estimate of a prompt, in percent.
    pub fn margin(&self) -> u8 {
        self.margin.unwrap_or(MARGIN)
    }

    /// The output limit that a request gets which names none.
    pub fn default_output(&self) -> u32 {
        self.default_output.unwrap_or(DEFAULT_OUTPUT)
    }
}

/// Who shares one allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum QuotaPer {
    /// Everybody together.
    Everyone,
    /// Each identity of a workload has its own; those that are not proven share one.
    Identity,
    /// Each verified user has its own; requests without one share one.
    User,
    /// Each value of a label of service accounts has its own; identities without it share one.
    Label,
}
