//! What the control plane told beside policies: guards, quotas, catalogues, secrets, issuers.

use std::sync::Arc;

use mesh::{
    names::ObjectName,
    resource::{Catalogue, Guard, Issuer, Quota, Secret},
};

use crate::Place;

/// Everything that is known at this moment. Each question is answered under the current snapshot.
pub trait Known: Send + Sync {
    /// The guards at these places, each once. A place whose set is not held has been refused by the judge.
    fn guards(&self, places: &[Place]) -> Vec<Arc<Guard>>;

    /// The quotas at these places, each once.
    fn quotas(&self, places: &[Place]) -> Vec<Arc<Quota>>;

    /// A catalogue of tools. One that is named and not held holds every tool back.
    fn catalogue(&self, name: &ObjectName) -> Option<Arc<Catalogue>>;

    /// A secret.
    fn secret(&self, name: &ObjectName) -> Option<Arc<Secret>>;

    /// An issuer of tokens, by its short name.
    fn issuer(&self, name: &str) -> Option<Arc<Issuer>>;
}
