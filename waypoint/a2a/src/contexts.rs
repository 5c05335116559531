//! Where contexts live whose ids callers chose themselves: an id that says nothing, so it is remembered.
//!
//! Bounded, and of this process alone: a replica that does not remember leads such a context as a new one. Ids that
//! agents or the waypoint made say it themselves and need no memory.

use std::collections::HashMap;

use mesh::{names::WorkloadUid, resource::BackendTarget};
use parking_lot::Mutex;

/// Where a context was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) target: BackendTarget,
    pub(crate) endpoint: WorkloadUid,
}

/// Remembers at least the last `most` contexts, and at most twice as many.
#[derive(Debug)]
pub(crate) struct Contexts {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    young: HashMap<String, Begun>,
    old: HashMap<String, Begun>,
}

impl Contexts {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), held: Mutex::default() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Begun> {
        let mut held = self.held.lock();
        if let Some(begun) = held.young.get(key) {
            return Some(begun.clone());
        }
        let begun = held.old.remove(key)?;
        held.put(key.to_owned(), begun.clone(), self.most);
        Some(begun)
    }

    pub(crate) fn put(&self, key: String, begun: Begun) {
        self.held.lock().put(key, begun, self.most);
    }
}

impl Held {
    fn put(&mut self, key: String, begun: Begun, most: usize) {
        if self.young.len() >= most && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, begun);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(name: &str) -> Begun {
        Begun { target: BackendTarget::Broken(name.into()), endpoint: name.into() }
    }

    #[test]
    fn the_last_are_remembered_and_no_more_than_twice_as_many() {
        let contexts = Contexts::new(2);
        for name in ["a", "b", "c"] {
            contexts.put(name.to_owned(), begun(name));
        }
        assert_eq!(contexts.get("b"), Some(begun("b")));
        for name in ["d", "e", "f"] {
            contexts.put(name.to_owned(), begun(name));
        }
        assert_eq!(contexts.get("a"), None);
        assert_eq!(contexts.get("f"), Some(begun("f")));
        let held = contexts.held.lock();
        assert!(held.young.len() + held.old.len() <= 4);
    }
}
