//! Decides who may do what: policy sets over facts.
//!
//! Pure. Stages and their order are those of the set, which the control plane resolved; nothing is merged
//! here. What is missing or fails while a policy is evaluated lets a Deny match, and an Allow or Limit not.

use std::sync::Arc;

use crate::{
    denial::Denial,
    facts::{Demand, Facts},
    names::{ObjectName, SetName, Version},
    resource::StageKind,
    snapshot::Snapshot,
};

/// What one pass over a policy set yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What holds.
    pub verdict: Verdict,
    /// What policies in audit mode would have done.
    pub shadows: Vec<Shadow>,
}

/// What holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It may.
    Granted(Grant),
    /// It may not.
    Refused(Denial),
}

/// What granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A rule of a policy.
    Rule {
        /// In which stage.
        stage: StageKind,
        /// The policy.
        policy: ObjectName,
        /// The rule.
        rule: Arc<str>,
    },
    /// The default access, because no policy speaks.
    Default,
}

/// What one policy in audit mode would have done, beside those that decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// The policy.
    pub policy: ObjectName,
    /// Its version.
    pub version: Version,
    /// In which stage.
    pub stage: StageKind,
    /// The rule that matched, if one did.
    pub rule: Option<Arc<str>>,
    /// The refusal that it would have been; absent: the policy would have let it pass.
    pub denial: Option<Denial>,
}

/// Judges by every rule of a set.
pub fn judge(snapshot: &Snapshot, set: &SetName, facts: &Facts) -> Judgement {
    let _ = (snapshot, set, facts);
    todo!()
}

/// Judges as a node does for a port that admits only waypoints: by those Deny rules that read neither layer 7
/// nor a condition. Every other rule is for the waypoint to judge.
pub fn judge_through(snapshot: &Snapshot, set: &SetName, facts: &Facts) -> Judgement {
    let _ = (snapshot, set, facts);
    todo!()
}

/// Which facts judging by a set may need. Nothing, if the set is not held: then it refuses anyway.
pub fn demand(snapshot: &Snapshot, set: &SetName) -> Demand {
    snapshot.set(set).map_or_else(Demand::default, |set| set.demand)
}
