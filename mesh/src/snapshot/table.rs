//! A map whose copies share everything that was not written since.
//!
//! Entries lie in buckets; a write copies the root (one pointer a bucket) and the one bucket it touches.
//! The number of buckets grows with the entries, so that both stay near the square root of their number.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Arc,
};

/// Fixed keys: equal content lies equally everywhere. Names come from the control plane, not from callers.
type Hashed = BuildHasherDefault<DefaultHasher>;
type Bucket<K, V> = Arc<HashMap<K, V, Hashed>>;

/// Buckets of a table with anything in it, and the fewest entries of each on average before there are more.
const BUCKETS_MIN: usize = 8;

/// A copy-on-write map.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    buckets: Arc<Vec<Bucket<K, V>>>,
    len: usize,
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { buckets: self.buckets.clone(), len: self.len }
    }
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { buckets: Arc::new(Vec::new()), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Table<K, V> {
    fn slot<Q: Hash + ?Sized>(key: &Q, buckets: usize) -> usize {
        // The remainder is below `buckets`, which is a usize.
        (Hashed::default().hash_one(key) % buckets as u64) as usize
    }

    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if self.buckets.is_empty() {
            return None;
        }
        self.buckets[Self::slot(key, self.buckets.len())].get(key)
    }

    pub(super) fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len >= self.buckets.len() * self.buckets.len().max(BUCKETS_MIN) {
            self.grow();
        }
        let slot = Self::slot(&key, self.buckets.len());
        let old = Arc::make_mut(&mut Arc::make_mut(&mut self.buckets)[slot]).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains(key) {
            return None;
        }
        let slot = Self::slot(key, self.buckets.len());
        let old = Arc::make_mut(&mut Arc::make_mut(&mut self.buckets)[slot]).remove(key);
        self.len -= usize::from(old.is_some());
        old
    }

    fn grow(&mut self) {
        let count = (self.buckets.len() * 2).max(BUCKETS_MIN);
        let mut buckets = vec![HashMap::<K, V, Hashed>::default(); count];
        for (key, value) in self.iter() {
            buckets[Self::slot(key, count)].insert(key.clone(), value.clone());
        }
        self.buckets = Arc::new(buckets.into_iter().map(Arc::new).collect());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.buckets.iter().flat_map(|bucket| bucket.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many buckets there are, and how many of them are not the other's.
    #[cfg(test)]
    pub(super) fn copied(&self, other: &Self) -> (usize, usize) {
        let pairs = self.buckets.iter().zip(other.buckets.iter());
        (self.buckets.len(), pairs.filter(|(ours, theirs)| !Arc::ptr_eq(ours, theirs)).count())
    }
}
