//! What one resource was and is.

use mesh::resource::{Key, Resource};

use crate::Want;

/// What one resource was and is.
#[derive(Debug, Clone)]
pub struct Changed {
    /// Which.
    pub key: Key,
    /// What it was before, if it was there.
    pub before: Option<Resource>,
    /// What it is now, if it is there.
    pub after: Option<Resource>,
}

impl Changed {
    /// Both forms that are there.
    pub fn forms(&self) -> impl Iterator<Item = &Resource> {
        self.before.iter().chain(&self.after)
    }

    /// True if it can alter what a want stands for.
    pub(super) fn touches(&self, want: &Want) -> bool {
        self.forms().any(|form| match (form, want) {
            (Resource::Workload(it), Want::Address(wanted)) => {
                it.network == wanted.network && it.addresses.contains(&wanted.address)
            }
            (Resource::Service(it), Want::Address(wanted)) => it.addresses.contains(&wanted.address),
            (Resource::Service(it), Want::Name(name)) => {
                it.key.hostname == *name || it.aliases.contains(name)
            }
            (Resource::Backend(it), Want::Name(name)) => it.hostnames.contains(name),
            (Resource::Ranges(_), Want::Address(_)) => true,
            _ => false,
        })
    }
}
