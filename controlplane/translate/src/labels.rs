//! The labels by which namespaces, Services and workloads say how they are in the mesh.

use api::bounded::Texts;
use mesh::resource::{DefaultAccess, Egress};

use crate::settings::{Access, Settings};

pub(crate) const USE_WAYPOINT: &str = "strait.dev/use-waypoint";
pub(crate) const USE_WAYPOINT_NAMESPACE: &str = "strait.dev/use-waypoint-namespace";
const DEFAULT_ACCESS: &str = "strait.dev/default-access";
const EGRESS: &str = "strait.dev/egress";
const FAILOVER: &str = "strait.dev/failover";

/// Who may where no Allow speaks: the tightest of what the namespace and the things in it say.
pub(crate) fn default_access<'a>(
    settings: &Settings,
    namespace: Option<&'a Texts>,
    things: impl Iterator<Item = &'a Texts>,
) -> DefaultAccess {
    let said = namespace.into_iter().chain(things).filter_map(|labels| labels.text(DEFAULT_ACCESS));
    let access = said.map(Access::of_label).max().unwrap_or(settings.default_access);
    match access {
        Access::Open => DefaultAccess::Open,
        Access::Mesh => DefaultAccess::Mesh(settings.trust_domain.clone()),
        Access::None => DefaultAccess::None,
    }
}

/// What a workload may reach outside; a workload can only tighten what its namespace says.
pub(crate) fn egress(namespace: Option<&Texts>, workload: &Texts) -> Egress {
    let said = namespace.into_iter().chain([workload]).filter_map(|labels| labels.text(EGRESS));
    // Any word but `allow` is a restriction that was meant.
    match said.into_iter().all(|word| word == "allow") {
        true => Egress::Allow,
        false => Egress::Deny,
    }
}

/// True if endpoints of other clusters join this Service.
pub(crate) fn fails_over(service: &Texts) -> bool {
    service.text(FAILOVER) == Some("remote")
}
