//! Computations by name, and what one of them makes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api::Name;
use mesh::{
    identity::{Identity, TrustDomain},
    resource::{Key, Resource},
};

use crate::{exports::ExportedService, status::Status, world::Mark};

/// One thing that is computed as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Computation {
    /// The ranges of the mesh.
    Ranges,
    /// The bundle of a trust domain.
    Bundle(TrustDomain),
    /// The revocation of an identity.
    Revocation(Identity),
    /// What one object makes, and its status.
    Object(Name),
    /// The waypoint that is made for a namespace that says `auto`.
    AutoWaypoint(Arc<str>),
    /// A service that comes over links.
    Import(Arc<str>, Arc<str>),
    /// What is exported over a link.
    Exports(Arc<str>),
}

/// What one computation made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Made {
    pub(crate) resources: BTreeMap<Key, Resource>,
    pub(crate) status: Option<(Name, Status)>,
    pub(crate) marks: BTreeSet<Mark>,
    pub(crate) exports: Option<Exports>,
}

impl Made {
    pub(crate) fn add(&mut self, resource: Resource) {
        self.resources.insert(resource.key(), resource);
    }
}

/// What is exported over one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exports {
    /// The ClusterLink.
    pub link: Arc<str>,
    /// Whose control plane may read it.
    pub reader: Identity,
    /// The services.
    pub services: Vec<ExportedService>,
}
