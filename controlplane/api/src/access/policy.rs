//! `AccessPolicy`: what a namespace grants or refuses at its own targets.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    external::ExternalAuth,
    limits::RULES_MAX,
    rule::{AccessRule, Mode},
};
use crate::{
    bounded::List,
    refs::{TARGETS_MAX, TargetRef, TargetSelector},
    status::PolicyStatus,
};

/// Grants or refuses access to its targets, which are in its own namespace.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    namespaced,
    category = "strait",
    status = "PolicyStatus",
    doc = "Says who may do what at its targets, which are in its own namespace.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
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
    validation = Rule::new("has(self.targetRefs) != has(self.targetSelectors)")
        .message("exactly one of targetRefs and targetSelectors is needed"),
    validation = Rule::new("has(self.externalAuth) == (self.action == 'ExternalAuth')")
        .message("externalAuth says whom action ExternalAuth asks, which needs it")
)]
pub struct AccessPolicySpec {
    /// What it applies to, by name.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind in ['Namespace', 'Service', 'ServiceAccount'] || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a target is a Namespace, Service or ServiceAccount (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)"),
        validation = Rule::new("self.all(t, !has(t.sectionName) || !(t.kind in ['Namespace', 'ServiceAccount']))")
            .message("sectionName is a part of a Service, AgentBackend, Gateway or HTTPRoute")
    )]
    pub target_refs: List<TargetRef, TARGETS_MAX>,
    /// What it applies to, by labels.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind in ['Service', 'ServiceAccount'] || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a selected target is a Service or ServiceAccount (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)")
    )]
    pub target_selectors: List<TargetSelector, TARGETS_MAX>,
    /// What its rules do.
    pub action: Action,
    /// Whether it is enforced, or decides and reports only.
    #[serde(default)]
    pub mode: Mode,
    /// Whom `ExternalAuth` asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<ExternalAuth>,
    /// Any rule that matches is enough.
    #[x_kube(
        validation = Rule::new("self.all(r, self.exists_one(s, s.name == r.name))")
            .message("each rule has a name of its own")
    )]
    pub rules: List<AccessRule, RULES_MAX>,
}

/// What the rules of an `AccessPolicy` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Action {
    /// They grant.
    Allow,
    /// They refuse, before any Allow is looked at.
    Deny,
    /// An external service is asked, whose yes is needed as well; it grants nothing by itself.
    ExternalAuth,
}
