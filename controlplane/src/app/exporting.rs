//! Who may read what is exported, and the words in which it is told.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use mesh::{Identity, TrustDomain};
use wire::export::{Exported, ExportedPort, ExportedService, ServedBy};

/// Which control plane may read what is exported to which trust domain.
#[derive(Debug, Clone, Default)]
pub(super) struct Readers {
    pub(super) by_identity: Arc<ArcSwap<BTreeMap<Identity, TrustDomain>>>,
}

impl wire::export::Links for Readers {
    fn reader(&self, peer: &Identity) -> Option<TrustDomain> {
        self.by_identity.load().get(peer).cloned()
    }
}

/// A service as the wire says it.
pub(super) fn exported(service: translate::ExportedService) -> Exported {
    let port = |(number, port): (u16, translate::ExportedPort)| {
        (number, ExportedPort { name: port.name, protocol: port.protocol })
    };
    Exported::Service(ExportedService {
        namespace: service.name.namespace,
        name: service.name.name,
        ports: service.ports.into_iter().map(port).collect(),
        capacity: service.capacity,
        healthy: service.healthy,
        locality: mesh::resource::Locality::default(),
        gateways: Vec::new(),
        served_by: match service.served_by {
            translate::ServedBy::Waypoint(identities) => ServedBy::Waypoint(identities),
            translate::ServedBy::Workloads(identities) => ServedBy::Workloads(identities),
        },
        vouchers: service.vouchers,
    })
}
