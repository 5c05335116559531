//! Makes the next snapshot from changes.

use super::*;

impl Snapshot {
    /// Applies changes, in their order, to a copy.
    ///
    /// *Guarantees*: a resource that cannot be taken rejects only itself, and its last accepted form stays. The
    /// same changes in any order or partition (in order for each resource) end in the same state, and a policy
    /// set rules only with all of its members, in the versions that it names.
    pub fn apply(&self, changes: Vec<Change>, compiler: &dyn Compiler) -> Applied {
        let _ = (changes, compiler);
        todo!()
    }
}
