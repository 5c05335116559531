//! `ClusterAccessPolicy`: what the namespaces that it selects may grant at the most.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    limits::RULES_MAX,
    rule::{AccessRule, Mode},
};
use crate::{bounded::List, refs::LabelSelector, status::PolicyStatus};

/// Bounds what the namespaces that it selects may grant.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "ClusterAccessPolicy",
    plural = "clusteraccesspolicies",
    category = "strait",
    status = "PolicyStatus",
    doc = "Bounds what the namespaces that it selects may grant.",
    printcolumn(name = "Kinds", type_ = "string", json_path = ".spec.targetSelector.kinds"),
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
pub struct ClusterAccessPolicySpec {
    /// What it applies to.
    pub target_selector: ClusterTargets,
    /// What its rules do.
    pub action: ClusterAction,
    /// Whether it is enforced, or decides and reports only.
    #[serde(default)]
    pub mode: Mode,
    /// Deny: any rule that matches refuses. Limit: one rule must match.
    #[x_kube(
        validation = Rule::new("self.all(r, self.exists_one(s, s.name == r.name))")
            .message("each rule has a name of its own")
    )]
    pub rules: List<AccessRule, RULES_MAX>,
}

/// What a `ClusterAccessPolicy` applies to: targets of these kinds in these namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterTargets {
    /// Namespaces by their labels; `{}` is every namespace.
    pub namespaces: LabelSelector,
    /// Kinds of targets.
    pub kinds: List<ClusterTargetKind, 8>,
}

/// A kind of target of a `ClusterAccessPolicy`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum ClusterTargetKind {
    /// Every workload of a namespace.
    Namespace,
    /// Services.
    Service,
    /// Workloads by their service account.
    ServiceAccount,
    /// Backends that are not Services.
    AgentBackend,
}

/// What the rules of a `ClusterAccessPolicy` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ClusterAction {
    /// They refuse, before everything else.
    Deny,
    /// They are a ceiling: one of them must match, whatever else would grant.
    Limit,
}
