//! Which guards and quotas speak of a thing: by name, or of all in a namespace.

use api::{Admitted, Kind, Name, Object, Targets, access::Mode, refs::TargetRef};
use mesh::{names::ObjectName, resource::PolicySet};

use crate::{
    access::Part,
    names::{self, created},
    reader::Reader,
};

/// The kinds whose objects are named in `guards` and `quotas` of a set.
const KINDS: [Kind; 2] = [Kind::GuardPolicy, Kind::QuotaPolicy];

/// A GuardPolicy or QuotaPolicy, accepted or standing in as a refusal of everything at its targets.
struct Content<'w> {
    name: &'w Name,
    created: (bool, String),
    refs: &'w [TargetRef],
    mode: Mode,
}

impl<'w> Content<'w> {
    fn of(name: &'w Name, admitted: &'w Admitted) -> Option<Self> {
        if let Admitted::DeniesTargets { targets: Targets::Namespaced { refs, .. }, .. } = admitted {
            return Some(Self { name, created: (true, String::new()), refs, mode: Mode::Enforce });
        }
        let object = admitted.object()?.as_ref();
        let (refs, mode) = match object {
            Object::GuardPolicy(policy) => (&policy.spec.target_refs, policy.spec.mode),
            Object::QuotaPolicy(policy) => (&policy.spec.target_refs, policy.spec.mode),
            _ => return None,
        };
        Some(Self { name, created: created(object), refs, mode })
    }

    fn targets(&self, parts: &[Part<'_>]) -> bool {
        self.refs.iter().any(|target| parts.iter().any(|part| part.is(target)))
    }
}

/// The objects of a kind that speak of any of these parts of a namespace, in the order that settles ties.
fn speaking<'w>(reader: &Reader<'w>, kind: Kind, namespace: &str, parts: &[Part<'_>]) -> Vec<Content<'w>> {
    let within = reader.admitted_within(kind, namespace);
    let within = within.filter_map(|(name, admitted)| Content::of(name, admitted));
    let mut found: Vec<Content<'w>> = within.filter(|content| content.targets(parts)).collect();
    found.sort_by(|a, b| (&a.created, a.name).cmp(&(&b.created, b.name)));
    found
}

/// Names the guards and quotas that speak of any of these parts in their set.
pub(crate) fn name_in(set: &mut PolicySet, reader: &Reader<'_>, namespace: &str, parts: &[Part<'_>]) {
    let named = |kind: Kind| -> Vec<ObjectName> {
        let found = speaking(reader, kind, namespace, parts);
        found.into_iter().map(|content| names::object(content.name)).collect()
    };
    set.guards = named(Kind::GuardPolicy);
    set.quotas = named(Kind::QuotaPolicy);
}

/// True if content of any of these parts must be read, so that nobody may come past who reads it. What is in audit
/// decides nothing.
pub(crate) fn is_read(reader: &Reader<'_>, namespace: &str, parts: &[Part<'_>]) -> bool {
    KINDS
        .into_iter()
        .any(|kind| speaking(reader, kind, namespace, parts).iter().any(|found| found.mode == Mode::Enforce))
}
