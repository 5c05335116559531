//! Policy sets: the policies that protect one thing, in stages, in order.

use serde::{Deserialize, Serialize};

use crate::{
    identity::TrustDomain,
    names::{ObjectName, SetName, Version},
};

/// Everything that decides who may use one target. A set that is not held, or whose members are not, refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicySet {
    /// Its name.
    pub name: SetName,
    /// The stages, in order; a request must pass each.
    pub stages: Vec<Stage>,
    /// What holds where the last stage has no Allow.
    pub default_access: DefaultAccess,
    /// The [`super::Guard`]s on the way; all apply.
    pub guards: Vec<ObjectName>,
    /// The [`super::Quota`]s on the way; all apply.
    pub quotas: Vec<ObjectName>,
}

/// One list of policies that are judged together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Which stage.
    pub kind: StageKind,
    /// Its policies, in the order that settles ties.
    pub policies: Vec<PolicyRef>,
}

/// The stages of DESIGN 4.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum StageKind {
    /// Any Deny of the platform refuses.
    PlatformDeny,
    /// Of every Limit of the platform one rule must match.
    PlatformLimit,
    /// Policies on Gateway, listener or route.
    WayIn,
    /// Policies on the target and its namespace.
    Target,
}

/// A member of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// The policy.
    pub name: ObjectName,
    /// The version of it that the set means; written in when the set is published.
    pub version: Option<Version>,
}

/// What holds where no Allow speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum DefaultAccess {
    /// Anyone.
    Open,
    /// Any proven identity of this trust domain.
    Mesh(TrustDomain),
    /// Nobody.
    None,
}
