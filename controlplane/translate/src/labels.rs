//! The labels by which namespaces, Services and workloads say how they are in the mesh.

use api::{Kind, Name, bounded::Texts};
use mesh::resource::{DefaultAccess, Egress};

use crate::settings::{Access, Settings};

pub(crate) const USE_WAYPOINT: &str = "strait.dev/use-waypoint";
const USE_WAYPOINT_NAMESPACE: &str = "strait.dev/use-waypoint-namespace";
const DEFAULT_ACCESS: &str = "strait.dev/default-access";
const EGRESS: &str = "strait.dev/egress";
const FAILOVER: &str = "strait.dev/failover";

/// The name of a waypoint that is made for a namespace.
pub(crate) const AUTO_WAYPOINT: &str = "waypoint";
/// What the labels of one object ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Label {
    /// Nothing: what is above decides.
    Absent,
    /// No waypoint, whatever is above.
    None,
    /// This Gateway.
    Gateway(Name),
}

impl Label {
    /// Reads the labels of an object of a namespace.
    pub(crate) fn of(labels: &Texts, namespace: &str) -> Self {
        let elsewhere = labels.text(USE_WAYPOINT_NAMESPACE).unwrap_or(namespace);
        match labels.text(USE_WAYPOINT) {
            None | Some("") => Self::Absent,
            Some("none") => Self::None,
            Some("auto") => Self::Gateway(auto_waypoint(namespace)),
            Some(name) => Self::Gateway(Name::new(Kind::Gateway, elsewhere, name)),
        }
    }

    /// The Gateway that it names.
    pub(crate) fn gateway(self) -> Option<Name> {
        match self {
            Self::Gateway(name) => Some(name),
            Self::Absent | Self::None => None,
        }
    }
}

/// The waypoint that `auto` means in a namespace.
pub(crate) fn auto_waypoint(namespace: &str) -> Name {
    Name::new(Kind::Gateway, namespace, AUTO_WAYPOINT)
}

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
