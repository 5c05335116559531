//! Who may know what: the question that the control plane answers for the publisher.
//!
//! The answer names roots; the publisher adds everything that a root refers to (see [`super::references`]), so a
//! resource in scope is complete. Cost grows with the change: roots are asked for anew only where
//! [`Scopes::affected`] says so.

use std::collections::BTreeSet;

use mesh::resource::{Key, Kind};

use super::{changed::Changed, table::Table};
use crate::{Caller, Want};

/// Says what a caller may know. Pure: it reads the table that it is given, and its own constants.
pub trait Scopes: Send + Sync + 'static {
    /// What the caller needs without asking. Keys that are not in the table count from when they are.
    fn roots(&self, table: &Table, caller: &Caller) -> BTreeSet<Key>;

    /// True if the change can alter the caller's roots. It may be true too often, never too seldom.
    fn affected(&self, changed: &Changed, caller: &Caller) -> bool;

    /// Kinds that the caller never holds, whatever refers to them: what is secret, and what it does not enforce.
    fn never(&self, caller: &Caller) -> &'static [Kind] {
        let _ = caller;
        &[]
    }

    /// What a name that the caller asked for stands for; nothing: it is not in the mesh.
    /// The default is everything in the table that has the address or name.
    fn resolve(&self, table: &Table, caller: &Caller, want: &Want) -> BTreeSet<Key> {
        let _ = caller;
        table.named(want)
    }
}
