//! Statuses, in the shape that Gateway API gives to those of policies, routes and gateways.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text};

/// The name under which we write statuses.
pub const CONTROLLER_NAME: &str = "strait.dev/controller";

/// One thing that is so, or is not, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is said: `Accepted`, `ResolvedRefs`, `Programmed`, ...
    #[serde(rename = "type")]
    pub kind: Text<316>,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, as one word for programs.
    pub reason: Text<1024>,
    /// Why, as a sentence for people.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// The generation of the object that this speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` changed last, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"), length(max = 64))]
    pub last_transition_time: Option<String>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// We cannot tell yet.
    Unknown,
}

/// The object that enforces something, or the one that something is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorRef {
    /// The API group; empty for the core group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// The kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub kind: Option<String>,
    /// The namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub namespace: Option<String>,
    /// The name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// A part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub section_name: Option<String>,
    /// A port of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What one enforcing object says of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AncestorStatus {
    /// The Gateway that enforces it, or the mesh.
    pub ancestor_ref: AncestorRef,
    /// Who wrote this.
    pub controller_name: Text<253>,
    /// What is so.
    #[serde(default)]
    pub conditions: List<Condition, 8, 0>,
}

/// The status of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One for each object that enforces it.
    #[serde(default)]
    pub ancestors: List<AncestorStatus, 16, 0>,
}

/// The status of an object that nothing else enforces: conditions alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionsStatus {
    /// What is so.
    #[serde(default)]
    pub conditions: List<Condition, 8, 0>,
}
