//! Decides who may do what: policy sets over facts.
//!
//! Pure. Stages and their order are those of the set, which the control plane resolved; nothing is merged
//! here. What is missing or fails while a policy is evaluated lets a Deny match, and an Allow or Limit not.

mod nearest;
mod terms;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_agents;

use std::sync::Arc;

use crate::{
    denial::{Denial, Reason},
    facts::{Demand, Facts},
    names::{ObjectName, SetName, Version},
    resource::{Action, Authorizer, DefaultAccess, Mode, StageKind},
    snapshot::{
        AdoptedSet, AdoptedStage, Snapshot,
        compile::{Compiled, CompiledRule},
    },
};
use terms::Polarity;

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
    /// It may if each of these external authorizers says yes. Who cannot ask refuses.
    Conditional(Grant, Vec<Arc<Authorizer>>),
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

/// Which rules of a set are for us to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All.
    Whole,
    /// At a port that admits only waypoints: Deny rules that read neither layer 7 nor a condition.
    Through,
}

/// Judges by every rule of a set.
pub fn judge(snapshot: &Snapshot, set: &SetName, facts: &Facts) -> Judgement {
    judge_in(snapshot, set, facts, Scope::Whole)
}

/// Judges as a node does for a port that admits only waypoints: by those Deny rules that read neither layer 7
/// nor a condition. Every other rule is for the waypoint to judge.
pub fn judge_through(snapshot: &Snapshot, set: &SetName, facts: &Facts) -> Judgement {
    judge_in(snapshot, set, facts, Scope::Through)
}

/// Which facts judging by a set may need. Nothing, if the set is not held: then it refuses anyway.
pub fn demand(snapshot: &Snapshot, set: &SetName) -> Demand {
    snapshot.set(set).map_or_else(Demand::default, |set| set.demand)
}

/// True if no member of the set reads layer 7 or has a condition. False if the set is not held.
pub fn is_layer_4(snapshot: &Snapshot, set: &SetName) -> bool {
    snapshot.set(set).is_some_and(|set| {
        let mut rules = set.stages.iter().flat_map(|stage| &stage.policies).flat_map(|policy| &policy.rules);
        rules.all(CompiledRule::is_layer_4)
    })
}

fn judge_in(snapshot: &Snapshot, name: &SetName, facts: &Facts, scope: Scope) -> Judgement {
    let Some(set) = snapshot.set(name) else {
        let denial = Denial::plain(Reason::PolicyMissing, format!("the policy set {name} is not held"));
        return Judgement { verdict: Verdict::Refused(denial), shadows: Vec::new() };
    };
    let verdict = match pass(set, facts, scope) {
        Ok(grant) => match asked(set, facts, scope) {
            asked if asked.is_empty() => Verdict::Granted(grant),
            asked => Verdict::Conditional(grant, asked),
        },
        Err(denial) => Verdict::Refused(denial),
    };
    Judgement { verdict, shadows: shadows(set, facts, scope) }
}

/// Passes the stages in their order.
fn pass(set: &AdoptedSet, facts: &Facts, scope: Scope) -> Result<Grant, Denial> {
    let mut granted = None;
    for stage in &set.stages {
        for policy in enforced(stage) {
            forbids(stage.kind, policy, facts, scope).map_or(Ok(()), Err)?;
        }
        if scope == Scope::Whole
            && let Some(grant) = grants(stage, facts)?
            && stage.kind == StageKind::Target
        {
            granted = Some(grant);
        }
    }
    match granted {
        Some(grant) => Ok(grant),
        None if scope == Scope::Through => Ok(Grant::Default),
        None => by_default(&set.default_access, facts),
    }
}

/// The external authorizers that must say yes as well. At a port that admits only waypoints, these ask.
fn asked(set: &AdoptedSet, facts: &Facts, scope: Scope) -> Vec<Arc<Authorizer>> {
    if scope == Scope::Through {
        return Vec::new();
    }
    let policies = set.stages.iter().flat_map(enforced);
    let asking = policies.filter(|policy| {
        policy.action == Action::ExternalAuth
            && policy.rules.iter().any(|rule| terms::rule(rule, facts, Polarity::Refuse))
    });
    asking.filter_map(|policy| policy.authorizer.clone()).collect()
}

fn enforced(stage: &AdoptedStage) -> impl Iterator<Item = &Arc<Compiled>> {
    stage.policies.iter().filter(|policy| policy.mode == Mode::Enforce)
}

fn allows(stage: &AdoptedStage) -> impl Iterator<Item = &Arc<Compiled>> {
    enforced(stage).filter(|policy| policy.action == Action::Allow)
}

/// The refusal of one policy that can refuse by itself: broken, a Deny that matches, a Limit that does not.
fn forbids(stage: StageKind, policy: &Arc<Compiled>, facts: &Facts, scope: Scope) -> Option<Denial> {
    if let Some(why) = &policy.broken {
        return Some(denial(Reason::PolicyBroken, stage, policy, None, None, Some(why.clone())));
    }
    match (policy.action, scope) {
        (Action::Deny, _) => {
            let judged = |rule: &&CompiledRule| scope == Scope::Whole || rule.is_layer_4();
            let rule =
                policy.rules.iter().filter(judged).find(|rule| terms::rule(rule, facts, Polarity::Refuse))?;
            Some(denied(stage, policy, rule, facts))
        }
        (Action::Limit, Scope::Whole) => {
            let within = policy.rules.iter().any(|rule| terms::rule(rule, facts, Polarity::Grant));
            (!within).then(|| nearest_of(Reason::BeyondLimit, stage, std::iter::once(policy), facts))
        }
        (Action::Limit, Scope::Through) | (Action::Allow | Action::ExternalAuth, _) => None,
    }
}

/// What the Allow policies of a stage grant; nothing, if there are none.
fn grants(stage: &AdoptedStage, facts: &Facts) -> Result<Option<Grant>, Denial> {
    let mut spoken = false;
    for policy in allows(stage) {
        spoken = true;
        if let Some(rule) = matched(policy, facts) {
            let (policy, rule) = (policy.name.clone(), rule.name.clone());
            return Ok(Some(Grant::Rule { stage: stage.kind, policy, rule }));
        }
    }
    if spoken { Err(nearest_of(Reason::NoGrant, stage.kind, allows(stage), facts)) } else { Ok(None) }
}

fn matched<'a>(policy: &'a Compiled, facts: &Facts) -> Option<&'a CompiledRule> {
    policy.rules.iter().find(|rule| terms::rule(rule, facts, Polarity::Grant))
}

fn by_default(default: &DefaultAccess, facts: &Facts) -> Result<Grant, Denial> {
    let caller = &facts.caller.workload;
    match default {
        DefaultAccess::Open => Ok(Grant::Default),
        DefaultAccess::Mesh(trust_domain) => match caller.verified() {
            Some(identity) if identity.trust_domain() == trust_domain => Ok(Grant::Default),
            _ => Err(Denial::plain(
                Reason::NotOfTheMesh,
                format!("only identities of {trust_domain} may by default, got {caller}"),
            )),
        },
        DefaultAccess::None => {
            Err(Denial::plain(Reason::NoGrant, "no policy grants anything here, and nobody may by default"))
        }
    }
}

/// What policies in audit mode would have done, each beside those that decide.
fn shadows(set: &AdoptedSet, facts: &Facts, scope: Scope) -> Vec<Shadow> {
    let mut shadows = Vec::new();
    for stage in &set.stages {
        for policy in stage.policies.iter().filter(|policy| policy.mode == Mode::Audit) {
            let denial = match forbids(stage.kind, policy, facts, scope) {
                None if scope == Scope::Whole && policy.action == Action::Allow => {
                    let passes = matched(policy, facts).is_some()
                        || allows(stage).any(|other| matched(other, facts).is_some());
                    (!passes).then(|| nearest_of(Reason::NoGrant, stage.kind, std::iter::once(policy), facts))
                }
                denial => denial,
            };
            let rule = match &denial {
                Some(denial) if denial.reason != Reason::NoGrant => denial.rule.clone(),
                Some(_) => None,
                None => matched(policy, facts)
                    .filter(|_| policy.action != Action::Deny)
                    .map(|rule| rule.name.clone()),
            };
            let (name, version) = (policy.name.clone(), policy.version.clone());
            shadows.push(Shadow { policy: name, version, stage: stage.kind, rule, denial });
        }
    }
    shadows
}

/// A Deny matched: because it did, or because an identity that it asks for is not proven.
fn denied(stage: StageKind, policy: &Compiled, rule: &CompiledRule, facts: &Facts) -> Denial {
    if facts.caller.workload.verified().is_none() && !terms::from(rule, facts, Polarity::Grant) {
        let unproven = rule.from.iter().enumerate().find(|(_, source)| {
            !source.principals.is_empty() && terms::source(source, facts, Polarity::Refuse)
        });
        if let Some((index, source)) = unproven {
            let field = format!("from[{index}].{}", source.principals[0].field).into();
            let detail = format!("the caller is {}", facts.caller.workload).into();
            return denial(
                Reason::IdentityUnknown,
                stage,
                policy,
                Some(&rule.name),
                Some(field),
                Some(detail),
            );
        }
    }
    let unknown = nearest::first_unknown(rule, facts);
    let (field, detail) = unknown.map_or((None, None), |(field, detail)| (Some(field), Some(detail)));
    denial(Reason::Denied, stage, policy, Some(&rule.name), field, detail)
}

fn nearest_of<'a>(
    reason: Reason,
    stage: StageKind,
    policies: impl Iterator<Item = &'a Arc<Compiled>>,
    facts: &Facts,
) -> Denial {
    match nearest::nearest(policies, facts) {
        Some(miss) => {
            let rule = miss.rule.map(|rule| &rule.name);
            denial(reason, stage, miss.policy, rule, Some(miss.field), Some(miss.detail))
        }
        None => Denial { stage: Some(stage), ..Denial::plain(reason, "no rule grants it") },
    }
}

fn denial(
    reason: Reason,
    stage: StageKind,
    policy: &Compiled,
    rule: Option<&Arc<str>>,
    field: Option<Arc<str>>,
    detail: Option<Arc<str>>,
) -> Denial {
    Denial {
        reason,
        stage: Some(stage),
        policy: Some((policy.name.clone(), Some(policy.version.clone()))),
        rule: rule.cloned(),
        field,
        detail,
    }
}
