//! What was published at one moment, as the proxies hold it.

use std::collections::BTreeSet;

use mesh::{
    Identity,
    names::{ObjectName, Version},
    resource::{Key, Kind, Resource, Service, Workload, WorkloadPort},
    snapshot::{Change, Snapshot},
};
use wire::publish::Table;

/// The suffix of names that come over links.
const CLUSTERSET: &str = ".clusterset.local";

/// What was published at one moment, shared and not copied.
pub(crate) struct Published {
    pub(super) snapshot: Snapshot,
}

impl Published {
    /// Takes it from the table, quickly: the publisher waits meanwhile.
    pub(crate) fn resources(table: &Table) -> Vec<(Version, Resource)> {
        let keys = Kind::ALL.into_iter().flat_map(|kind| table.of_kind(kind));
        keys.filter_map(|key| Some((table.version(key)?.clone(), table.get(key)?.clone()))).collect()
    }

    /// Compiles what was taken.
    pub(crate) fn of(resources: Vec<(Version, Resource)>) -> Self {
        let changes = resources.into_iter().map(|(version, resource)| Change::Set(version, resource));
        Self { snapshot: Snapshot::default().apply(changes.collect(), &expr::Cel).snapshot }
    }

    /// What would be published. Versions say nothing here: every set means the members that stand beside it.
    pub(crate) fn drafted<'r>(resources: impl Iterator<Item = (&'r Key, &'r Resource)>) -> Self {
        let one = || Version::from("draft");
        Self::of(resources.map(|(_, resource)| (one(), resource.clone())).collect())
    }

    /// By `namespace/name` or by a full name. A Service of ours comes before one of another cluster of its name.
    pub(super) fn find(&self, text: &str) -> Result<&Service, String> {
        let named = |service: &&Service| match text.split_once('/') {
            Some((namespace, name)) => *service.key.namespace == *namespace && *service.name == *name,
            None => {
                service.key.hostname.as_str() == text
                    || service.aliases.iter().any(|alias| alias.as_str() == text)
            }
        };
        let order = |service: &&Service| {
            (service.key.hostname.as_str().ends_with(CLUSTERSET), service.key.to_string())
        };
        let found = self.snapshot.services().map(AsRef::as_ref).filter(named).min_by_key(order);
        found.ok_or_else(|| format!("there is no service {text}: write NAMESPACE/NAME:PORT or a full name"))
    }

    /// Every service, by name.
    pub(super) fn services(&self) -> Vec<&Service> {
        let mut all: Vec<&Service> = self.snapshot.services().map(AsRef::as_ref).collect();
        all.sort_by_key(|service| service.key.to_string());
        all
    }

    /// Every identity under which something runs that is known here.
    pub(super) fn identities(&self) -> BTreeSet<Identity> {
        self.snapshot.workloads().map(|workload| workload.identity.clone()).collect()
    }

    pub(super) fn backend(&self, name: &ObjectName) -> Option<&mesh::resource::Backend> {
        self.snapshot.backend(name).map(AsRef::as_ref)
    }
}

/// The ports of a workload that serve a port of a service.
pub(super) fn ports_of<'t>(
    workload: &'t Workload,
    service: &Service,
    port: u16,
) -> impl Iterator<Item = (u16, &'t WorkloadPort)> {
    let mappings =
        workload.services.get(service.key.to_string().as_str()).map(Vec::as_slice).unwrap_or_default();
    let targets =
        mappings.iter().filter(move |mapping| mapping.service == port).map(|mapping| mapping.target);
    targets.filter_map(|target| Some((target, workload.ports.get(&target)?)))
}
