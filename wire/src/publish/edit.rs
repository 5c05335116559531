//! What the control plane asks of the publisher.

use mesh::resource::{Key, Resource};

/// One edit of what is published.
#[derive(Debug, Clone)]
pub enum Edit {
    /// The resource is now this.
    Set(Resource),
    /// There is no such resource any more.
    Remove(Key),
}

impl Edit {
    /// Which resource it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Set(resource) => resource.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}
