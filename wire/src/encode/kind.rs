//! Kinds by the names of their types on the wire.

use mesh::resource::{Key, Kind};

/// The type of workloads and services.
const ADDRESS_TYPE: &str = "type.googleapis.com/istio.workload.Address";
/// The type of checkpoints.
pub const CHECKPOINT_TYPE: &str = "type.googleapis.com/strait.v1.Checkpoint";

/// The type under which a kind is sent.
pub fn type_url(kind: Kind) -> &'static str {
    match kind {
        Kind::Workload | Kind::Service => ADDRESS_TYPE,
        Kind::Ranges => "type.googleapis.com/strait.v1.Ranges",
        Kind::Bundle => "type.googleapis.com/strait.v1.Bundle",
        Kind::Revocation => "type.googleapis.com/strait.v1.Revocation",
        Kind::Placement => "type.googleapis.com/strait.v1.Placement",
        Kind::Absence => "type.googleapis.com/strait.v1.Absence",
        Kind::Policy => "type.googleapis.com/strait.v1.Policy",
        Kind::PolicySet => "type.googleapis.com/strait.v1.PolicySet",
        Kind::Listener => "type.googleapis.com/strait.v1.Listener",
        Kind::Route => "type.googleapis.com/strait.v1.Route",
        Kind::Backend => "type.googleapis.com/strait.v1.Backend",
        Kind::Guard => "type.googleapis.com/strait.v1.Guard",
        Kind::Quota => "type.googleapis.com/strait.v1.Quota",
        Kind::Catalogue => "type.googleapis.com/strait.v1.Catalogue",
        Kind::Issuer => "type.googleapis.com/strait.v1.Issuer",
        Kind::Secret => "type.googleapis.com/strait.v1.Secret",
    }
}

/// Every type but the checkpoint's, in the order in which a push sends them.
pub fn type_urls() -> impl Iterator<Item = &'static str> {
    // Services share the type of workloads, which stand before them.
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Service).map(type_url)
}

/// The key of what is sent under this type and name, if there can be such a thing.
///
/// Of the two that share a type, a service's name `namespace/hostname` has one slash, a workload's uid more.
pub fn key_of(url: &str, name: &str) -> Option<Key> {
    if url == ADDRESS_TYPE {
        return match name.bytes().filter(|byte| *byte == b'/').count() {
            0 => None,
            1 => Some(Key::new(Kind::Service, name)),
            _ => Some(Key::new(Kind::Workload, name)),
        };
    }
    let kind = Kind::ALL.into_iter().find(|kind| type_url(*kind) == url)?;
    Some(Key::new(kind, name))
}
