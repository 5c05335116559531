//! What one subscriber may know: its roots, what it asked for, and all that these refer to.
//!
//! Kept by counting: a key is in scope as long as a root or a key in scope names it. So an edit costs what it
//! changes. Where counts alone cannot tell (a circle that nothing outside names any more), it is computed anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh::resource::{Key, Kind};

use super::table::{Edges, Table};
use crate::Want;

/// The scope of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Scope {
    roots: BTreeSet<Key>,
    wants: BTreeMap<Want, BTreeSet<Key>>,
    /// By key in scope, how many roots, wants and keys in scope name it.
    counts: HashMap<Key, u32>,
    /// A key that may be part of a circle lost one of several that named it.
    doubtful: bool,
    /// Kinds that are never in scope.
    never: &'static [Kind],
}

impl Scope {
    /// A scope in which these kinds never are.
    pub(super) fn without(never: &'static [Kind]) -> Self {
        Self { never, ..Self::default() }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.counts.contains_key(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.counts.keys()
    }

    pub(super) fn wants(&self) -> &BTreeMap<Want, BTreeSet<Key>> {
        &self.wants
    }

    /// Puts other roots in place; `moved` collects keys that came into scope or left it.
    pub(super) fn set_roots(&mut self, table: &Table, roots: BTreeSet<Key>, moved: &mut BTreeSet<Key>) {
        let before = std::mem::replace(&mut self.roots, roots);
        let came: Vec<Key> = self.roots.difference(&before).cloned().collect();
        let went: Vec<Key> = before.difference(&self.roots).cloned().collect();
        self.exchange(table, came, went, moved);
    }

    /// Says what a want stands for; `None`: it is not wanted any more.
    pub(super) fn set_want(
        &mut self,
        table: &Table,
        want: Want,
        keys: Option<BTreeSet<Key>>,
        moved: &mut BTreeSet<Key>,
    ) {
        let after = keys.clone().unwrap_or_default();
        let before = match keys {
            Some(keys) => self.wants.insert(want, keys),
            None => self.wants.remove(&want),
        }
        .unwrap_or_default();
        let came: Vec<Key> = after.difference(&before).cloned().collect();
        let went: Vec<Key> = before.difference(&after).cloned().collect();
        self.exchange(table, came, went, moved);
    }

    /// Follows an edit of the table, which has just been made.
    pub(super) fn follow(&mut self, table: &Table, edges: &Edges, moved: &mut BTreeSet<Key>) {
        // Both are decided before either is carried out: what the edit itself brings into scope is entered with
        // the references that it has now, and must not be counted again.
        let mine = |edges: &[(Key, Key)]| -> Vec<Key> {
            edges.iter().filter(|(from, _)| self.contains(from)).map(|(_, to)| to.clone()).collect()
        };
        let (came, went) = (mine(&edges.added), mine(&edges.removed));
        self.exchange(table, came, went, moved);
    }

    /// Computes everything anew if counts cannot tell.
    pub(super) fn settle(&mut self, table: &Table, moved: &mut BTreeSet<Key>) {
        if !std::mem::take(&mut self.doubtful) {
            return;
        }
        let before = std::mem::take(&mut self.counts);
        let named: Vec<Key> = self.roots.iter().chain(self.wants.values().flatten()).cloned().collect();
        let mut ignored = BTreeSet::new();
        for key in named {
            self.enter(table, key, &mut ignored);
        }
        moved.extend(before.keys().filter(|key| !self.contains(key)).cloned());
    }

    fn exchange(&mut self, table: &Table, came: Vec<Key>, went: Vec<Key>, moved: &mut BTreeSet<Key>) {
        // First what comes, so that what is only named by another now does not leave and come back.
        for key in came {
            self.enter(table, key, moved);
        }
        for key in went {
            self.leave(table, key, moved);
        }
    }

    fn enter(&mut self, table: &Table, key: Key, moved: &mut BTreeSet<Key>) {
        let mut todo = vec![key];
        while let Some(key) = todo.pop() {
            if self.never.contains(&key.kind) {
                continue;
            }
            let count = self.counts.entry(key.clone()).or_default();
            *count += 1;
            if *count == 1 {
                todo.extend(table.references(&key));
                moved.insert(key);
            }
        }
    }

    fn leave(&mut self, table: &Table, key: Key, moved: &mut BTreeSet<Key>) {
        let mut todo = vec![key];
        while let Some(key) = todo.pop() {
            if self.never.contains(&key.kind) {
                continue;
            }
            let Some(count) = self.counts.get_mut(&key) else {
                // Counted wrongly, or never: computing anew is always right.
                self.doubtful = true;
                continue;
            };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key);
                todo.extend(table.references(&key));
                moved.insert(key);
            } else {
                self.doubtful |= matches!(key.kind, Kind::Service | Kind::Workload | Kind::Backend);
            }
        }
    }
}
