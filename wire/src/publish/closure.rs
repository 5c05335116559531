//! What one subscriber may know: its roots, what it asked for, and all that these refer to.
//!
//! Kept by counting: a key is in scope as long as a root or a key in scope names it. So an edit costs what it
//! changes. Where counts alone cannot tell (a circle that nothing outside names any more), it is computed anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh::resource::{Key, Kind};

use super::table::{Edges, Table};
use crate::Want;

/// What is secret is given to whoever uses it, and to nobody who only asks for a name.
const NEVER_ASKED_FOR: [Kind; 2] = [Kind::Secret, Kind::Issuer];

/// The scope of one subscriber.
#[derive(Debug, Default)]
pub(super) struct Scope {
    roots: BTreeSet<Key>,
    wants: BTreeMap<Want, BTreeSet<Key>>,
    rooted: Counts,
    wanted: Counts,
}

/// What some keys refer to, themselves included.
#[derive(Debug, Default)]
struct Counts {
    /// By key, how many of the first keys, and of the keys here, name it.
    counts: HashMap<Key, u32>,
    /// A key that may be part of a circle lost one of several that named it.
    doubtful: bool,
    /// Kinds that are never here.
    never: Vec<Kind>,
}

impl Scope {
    /// A scope in which these kinds never are.
    pub(super) fn without(never: &[Kind]) -> Self {
        let counts = |never: Vec<Kind>| Counts { never, ..Counts::default() };
        let rooted = counts(never.to_vec());
        Self { rooted, wanted: counts([never, &NEVER_ASKED_FOR].concat()), ..Self::default() }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.rooted.contains(key) || self.wanted.contains(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        let wanted = self.wanted.counts.keys().filter(|key| !self.rooted.contains(key));
        self.rooted.counts.keys().chain(wanted)
    }

    pub(super) fn wants(&self) -> &BTreeMap<Want, BTreeSet<Key>> {
        &self.wants
    }

    /// Puts other roots in place; `moved` collects keys that came into scope or left it.
    pub(super) fn set_roots(&mut self, table: &Table, roots: BTreeSet<Key>, moved: &mut BTreeSet<Key>) {
        let before = std::mem::replace(&mut self.roots, roots);
        let came: Vec<Key> = self.roots.difference(&before).cloned().collect();
        let went: Vec<Key> = before.difference(&self.roots).cloned().collect();
        self.rooted.exchange(table, came, went, moved);
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
        self.wanted.exchange(table, came, went, moved);
    }

    /// Follows an edit of the table, which has just been made.
    pub(super) fn follow(&mut self, table: &Table, edges: &Edges, moved: &mut BTreeSet<Key>) {
        self.rooted.follow(table, edges, moved);
        self.wanted.follow(table, edges, moved);
    }

    /// Computes everything anew if counts cannot tell.
    pub(super) fn settle(&mut self, table: &Table, moved: &mut BTreeSet<Key>) {
        self.rooted.settle(table, self.roots.iter(), moved);
        self.wanted.settle(table, self.wants.values().flatten(), moved);
    }
}

impl Counts {
    fn contains(&self, key: &Key) -> bool {
        self.counts.contains_key(key)
    }

    fn follow(&mut self, table: &Table, edges: &Edges, moved: &mut BTreeSet<Key>) {
        // Both are decided before either is carried out: what the edit itself brings into scope is entered with
        // the references that it has now, and must not be counted again.
        let mine = |edges: &[(Key, Key)]| -> Vec<Key> {
            edges.iter().filter(|(from, _)| self.contains(from)).map(|(_, to)| to.clone()).collect()
        };
        let (came, went) = (mine(&edges.added), mine(&edges.removed));
        self.exchange(table, came, went, moved);
    }

    fn settle<'k>(&mut self, table: &Table, first: impl Iterator<Item = &'k Key>, moved: &mut BTreeSet<Key>) {
        if !std::mem::take(&mut self.doubtful) {
            return;
        }
        let before = std::mem::take(&mut self.counts);
        let mut ignored = BTreeSet::new();
        for key in first {
            self.enter(table, key.clone(), &mut ignored);
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
