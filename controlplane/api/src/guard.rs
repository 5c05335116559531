//! `GuardPolicy`: what content may pass.

use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    access::{EXPRESSION_MAX, Mode},
    backend::upstream::PATH_PATTERN,
    bounded::{List, Text},
    period::Period,
    refs::{ServiceRef, TARGETS_MAX, TargetRef},
    status::PolicyStatus,
};

/// Largest size that a guard can name, in bytes.
pub const GUARD_BYTES_MAX: u64 = 1 << 30;
/// How long an external guard is waited for, where nothing is written.
pub const GUARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Says what content may pass at its targets; all on the way apply.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "GuardPolicy",
    plural = "guardpolicies",
    namespaced,
    category = "strait",
    status = "PolicyStatus",
    doc = "Says what content may pass at its targets; all on the way apply.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"),
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
#[x_kube(
    validation = Rule::new("has(self.patterns) || has(self.sizes) || has(self.origins) || has(self.external)")
        .message("at least one of patterns, sizes, origins and external is needed")
)]
pub struct GuardPolicySpec {
    /// What it applies to.
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind in ['Namespace', 'Service'] || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a target is a Namespace or Service (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)"),
        validation = Rule::new("self.all(t, !has(t.sectionName) || t.kind != 'Namespace')")
            .message("sectionName is a part of a Service, AgentBackend, Gateway or HTTPRoute")
    )]
    pub target_refs: List<TargetRef, TARGETS_MAX>,
    /// Whether it is enforced, or looks and reports only.
    #[serde(default)]
    pub mode: Mode,
    /// What is looked for in texts.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(p, self.exists_one(q, q.name == p.name))")
            .message("each pattern has a name of its own")
    )]
    pub patterns: List<GuardPattern, 32>,
    /// Bounds of sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.request) || has(self.response)").message("sizes says at least one thing")
    )]
    pub sizes: Option<GuardSizes>,
    /// Origins of web pages whose scripts may call, for example `https://app.example.com`. Left out, only
    /// pages of the host that was called. Requests that name no origin do not come from a page and pass.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^[a-z][-+.a-z0-9]*://([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$"
    )))]
    #[x_kube(
        validation = Rule::new("self.all(o, !(o.startsWith('https://') && o.endsWith(':443')) && !(o.startsWith('http://') && o.endsWith(':80')))")
            .message("browsers leave the usual port out")
    )]
    pub origins: List<Text<512>, 64>,
    /// Who else is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalGuard>,
}

/// What is looked for in texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.regex) == (self.type == 'Regex')")
        .message("regex is the expression of type Regex, which needs it")
)]
pub struct GuardPattern {
    /// Its name, which refusals tell and `Mask` writes in the place of what was found.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// What it finds.
    #[serde(rename = "type")]
    pub kind: GuardPatternType,
    /// The regular expression (RE2) of `Regex`, anywhere in a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<Text<EXPRESSION_MAX>>,
    /// In which direction it looks.
    #[serde(default)]
    pub direction: Direction,
    /// What becomes of what it finds.
    #[serde(default)]
    pub action: GuardAction,
}

/// What a pattern finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum GuardPatternType {
    /// Electronic mail addresses.
    Email,
    /// Numbers of payment cards.
    CreditCard,
    /// Social security numbers of the United States.
    UsSsn,
    /// Telephone numbers in international form.
    PhoneNumber,
    /// International bank account numbers.
    Iban,
    /// Internet addresses.
    IpAddress,
    /// Keys, tokens and private keys in well-known forms.
    Secret,
    /// A regular expression.
    Regex,
}

/// Which way content goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Direction {
    /// From the caller.
    Request,
    /// To the caller.
    Response,
    /// Either.
    #[default]
    Both,
}

/// What becomes of what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum GuardAction {
    /// The content is refused.
    #[default]
    Refuse,
    /// It is replaced by the pattern's name in brackets.
    Mask,
}

/// Bounds of sizes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuardSizes {
    /// Of a request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = GUARD_BYTES_MAX))]
    pub request: Option<u64>,
    /// Of a response's body, or of one message of a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = GUARD_BYTES_MAX))]
    pub response: Option<u64>,
}

/// A guard that is asked by HTTP. What it does not answer in time is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExternalGuard {
    /// The Service that serves it.
    pub service_ref: ServiceRef,
    /// The path to which content is posted; `/` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = PATH_PATTERN))]
    pub path: Option<Text<1024>>,
    /// How long its answer may take, 1ms to 60s; 1s if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("duration(self) > duration('0s') && duration(self) <= duration('60s')")
            .message("an answer may take 1ms to 60s")
    )]
    pub timeout: Option<Period>,
    /// In which direction it is asked.
    #[serde(default)]
    pub direction: Direction,
}

impl ExternalGuard {
    /// The path to which content is posted.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    /// How long its answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.map_or(GUARD_TIMEOUT, Period::duration)
    }
}
