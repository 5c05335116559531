//! ClusterLinks: what is told of each.

use api::{Name, Resource as Object, link::ClusterLinkSpec};

use super::{export, import};
use crate::{
    link,
    made::Made,
    reader::Reader,
    status::{ConditionKind, Conditions, Status, Truth},
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<ClusterLinkSpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let Some((name, _)) = reader.links().find(|(own, _)| *own == name) else { return Made::default() };
    let link = link::valid(reader, name, object);
    let fault = link.as_ref().err();
    let mut status = Status::default();
    status.conditions.push(conditions.judge(ConditionKind::Accepted, fault, "the link is valid"));
    if let Ok(link) = &link {
        status.imported = Some(import::count(reader, link));
        status.exported = Some(export::services(reader, link).len() as u64);
        status.conditions.push(match reader.bundle(&link.trust_domain) {
            Some(_) => conditions.holds(ConditionKind::ResolvedRefs, "its roots are known"),
            None => conditions.make(
                ConditionKind::ResolvedRefs,
                Truth::False,
                "NoBundle",
                format!(
                    "the bundle of {} could not be read yet from {}",
                    link.trust_domain, link.spec.bundle.endpoint
                ),
            ),
        });
    }
    Made { status: Some((name.clone(), status)), ..Made::default() }
}
