//! Which access policies speak of a thing, and in which order.

use api::{
    Admitted, Kind, Name, Object, Targets,
    access::{AccessRule, Action, ClusterAction, ClusterTargetKind, ClusterTargets, ExternalAuth, Mode},
    admitted::Rejection,
    bounded::Texts,
    refs::{TargetRef, TargetSelector},
};
use mesh::resource::{PolicyRef, Stage, StageKind};

use crate::{
    names::{self, created},
    reader::Reader,
};

/// An access policy, accepted or standing in as a denial of its targets.
pub(crate) struct Access<'w> {
    pub(crate) name: &'w Name,
    pub(crate) created: (bool, String),
    pub(crate) refs: &'w [TargetRef],
    pub(crate) selectors: &'w [TargetSelector],
    pub(crate) action: Action,
    pub(crate) mode: Mode,
    pub(crate) rules: &'w [AccessRule],
    pub(crate) external_auth: Option<&'w ExternalAuth>,
    pub(crate) never_accepted: Option<&'w Rejection>,
}

impl<'w> Access<'w> {
    pub(crate) fn of(name: &'w Name, admitted: &'w Admitted) -> Option<Self> {
        match admitted {
            Admitted::DeniesTargets {
                targets: Targets::Namespaced { refs, selectors }, rejection, ..
            } => Some(Self {
                name,
                created: (true, String::new()),
                refs,
                selectors,
                action: Action::Deny,
                mode: Mode::Enforce,
                rules: &[],
                external_auth: None,
                never_accepted: Some(rejection),
            }),
            _ => match admitted.object()?.as_ref() {
                object @ Object::AccessPolicy(policy) => Some(Self {
                    name,
                    created: created(object),
                    refs: &policy.spec.target_refs,
                    selectors: &policy.spec.target_selectors,
                    action: policy.spec.action,
                    mode: policy.spec.mode,
                    rules: &policy.spec.rules,
                    external_auth: policy.spec.external_auth.as_ref(),
                    never_accepted: None,
                }),
                _ => None,
            },
        }
    }

    /// True if it can only be judged where requests are read.
    pub(crate) fn reads_requests(&self) -> bool {
        self.action == Action::ExternalAuth || reads_requests(self.rules)
    }

    /// True if it speaks of this part.
    pub(crate) fn targets(&self, part: &Part<'_>) -> bool {
        self.refs.iter().any(|target| part.is(target))
            || self.selectors.iter().any(|target| part.is_selected(target))
    }
}

/// A cluster-wide access policy, accepted or standing in as a denial of its targets.
pub(crate) struct ClusterAccess<'w> {
    pub(crate) name: &'w Name,
    pub(crate) created: (bool, String),
    pub(crate) targets: &'w ClusterTargets,
    pub(crate) action: ClusterAction,
    pub(crate) mode: Mode,
    pub(crate) rules: &'w [AccessRule],
    pub(crate) never_accepted: Option<&'w Rejection>,
}

impl<'w> ClusterAccess<'w> {
    pub(crate) fn of(name: &'w Name, admitted: &'w Admitted) -> Option<Self> {
        match admitted {
            Admitted::DeniesTargets { targets: Targets::Cluster(targets), rejection, .. } => Some(Self {
                name,
                created: (true, String::new()),
                targets,
                action: ClusterAction::Deny,
                mode: Mode::Enforce,
                rules: &[],
                never_accepted: Some(rejection),
            }),
            _ => match admitted.object()?.as_ref() {
                object @ Object::ClusterAccessPolicy(policy) => Some(Self {
                    name,
                    created: created(object),
                    targets: &policy.spec.target_selector,
                    action: policy.spec.action,
                    mode: policy.spec.mode,
                    rules: &policy.spec.rules,
                    never_accepted: None,
                }),
                _ => None,
            },
        }
    }

    fn selects(&self, reader: &Reader<'_>, namespace: &str, kinds: &[ClusterTargetKind]) -> bool {
        let nothing = Texts::default();
        let labels = reader.namespace_labels(namespace).unwrap_or(&nothing);
        self.targets.namespaces.matches(labels) && self.targets.kinds.iter().any(|kind| kinds.contains(kind))
    }
}

/// A thing, or a part of it, of which a policy of its namespace can speak.
pub(crate) struct Part<'a> {
    pub(crate) kind: Kind,
    pub(crate) name: &'a str,
    pub(crate) labels: Option<&'a Texts>,
    /// The names of the part: a port's name and number, a listener.
    pub(crate) sections: Vec<String>,
}

impl<'a> Part<'a> {
    pub(crate) fn whole(kind: Kind, name: &'a str, labels: Option<&'a Texts>) -> Self {
        Self { kind, name, labels, sections: Vec::new() }
    }

    pub(crate) fn is(&self, target: &TargetRef) -> bool {
        target.kind.as_str() == self.kind.as_str()
            && target.group == self.kind.group()
            && target.name.as_str() == self.name
            && target
                .section_name
                .as_ref()
                .is_none_or(|section| self.sections.iter().any(|own| *section == own.as_str()))
    }

    fn is_selected(&self, target: &TargetSelector) -> bool {
        target.kind.as_str() == self.kind.as_str()
            && target.group == self.kind.group()
            && self
                .labels
                .map_or(target.match_labels.is_empty(), |labels| target.match_labels.are_all_in(labels))
    }
}

/// The policies of a namespace, in the order that settles ties.
pub(crate) fn within<'w>(reader: &Reader<'w>, namespace: &str) -> Vec<Access<'w>> {
    let mut found: Vec<Access<'w>> = reader
        .admitted_within(Kind::AccessPolicy, namespace)
        .filter_map(|(name, admitted)| Access::of(name, admitted))
        .collect();
    found.sort_by(|a, b| (&a.created, a.name).cmp(&(&b.created, b.name)));
    found
}

/// The cluster-wide policies that select a kind of thing in a namespace, in the order that settles ties.
fn of_platform<'w>(
    reader: &Reader<'w>,
    namespace: &str,
    kinds: &[ClusterTargetKind],
) -> Vec<ClusterAccess<'w>> {
    let mut found: Vec<ClusterAccess<'w>> = reader
        .all_admitted(Kind::ClusterAccessPolicy)
        .filter_map(|(name, admitted)| ClusterAccess::of(name, admitted))
        .filter(|policy| policy.selects(reader, namespace, kinds))
        .collect();
    found.sort_by(|a, b| (&a.created, a.name).cmp(&(&b.created, b.name)));
    found
}

/// The stages of the platform, as far as somebody speaks in them.
pub(crate) fn platform(reader: &Reader<'_>, namespace: &str, kinds: &[ClusterTargetKind]) -> Vec<Stage> {
    let found = of_platform(reader, namespace, kinds);
    let stage = |kind, action| {
        let of_stage = found.iter().filter(|policy| policy.action == action);
        let policies: Vec<PolicyRef> = of_stage.map(|policy| reference(policy.name)).collect();
        (!policies.is_empty()).then_some(Stage { kind, policies })
    };
    let deny = stage(StageKind::PlatformDeny, ClusterAction::Deny);
    let limit = stage(StageKind::PlatformLimit, ClusterAction::Limit);
    deny.into_iter().chain(limit).collect()
}

/// True if a cluster-wide policy of a thing can only be judged where requests are read.
pub(crate) fn platform_reads_requests(
    reader: &Reader<'_>,
    namespace: &str,
    kinds: &[ClusterTargetKind],
) -> bool {
    of_platform(reader, namespace, kinds).iter().any(|policy| reads_requests(policy.rules))
}

/// A stage of the policies that speak of any of these parts, if there are some.
pub(crate) fn stage(kind: StageKind, policies: &[Access<'_>], parts: &[Part<'_>]) -> Option<Stage> {
    let speaking = policies.iter().filter(|policy| parts.iter().any(|part| policy.targets(part)));
    let policies: Vec<PolicyRef> = speaking.map(|policy| reference(policy.name)).collect();
    (!policies.is_empty()).then_some(Stage { kind, policies })
}

fn reference(name: &Name) -> PolicyRef {
    PolicyRef { name: names::object(name), version: None }
}

/// True if a rule can only be judged where requests are read.
pub(crate) fn reads_requests(rules: &[AccessRule]) -> bool {
    rules.iter().any(|rule| {
        rule.when.is_some()
            || rule.from.iter().any(|from| from.user.is_some())
            || rule
                .to
                .iter()
                .any(|to| to.http.is_some() || to.mcp.is_some() || to.a2a.is_some() || to.llm.is_some())
    })
}
