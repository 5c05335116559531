//! The counts of one minute, within their bounds.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{Asked, DecisionKey, KEYS_MAX, OTHER, TEXT_BYTES_MAX};

/// Most keys of one source; what comes beyond is told apart by policy and verdict only.
pub(super) const SOURCE_KEYS_MAX: usize = 512;
/// Most different paths, objects and hosts of one destination.
pub(super) const TEXTS_MAX: usize = 64;
/// Most different users of one destination.
pub(super) const USERS_MAX: usize = 256;

/// The fields that callers can make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Field {
    Method,
    Host,
    Path,
    Object,
    User,
}

#[derive(Debug, Default)]
pub(super) struct Minute {
    counts: HashMap<DecisionKey, u64>,
    texts: HashMap<(Field, Arc<str>), HashSet<Arc<str>>>,
    sources: HashMap<Arc<str>, usize>,
}

impl Minute {
    pub(super) fn count(&mut self, key: DecisionKey) {
        if self.add(&key) {
            return;
        }
        let mut key = self.narrowed(key);
        if self.add(&key) {
            return;
        }
        let of_source = self.sources.get(&key.source).copied().unwrap_or_default();
        if of_source >= SOURCE_KEYS_MAX {
            key.destination = OTHER.into();
            key.asked = Asked::other();
            if self.add(&key) {
                return;
            }
        }
        if self.counts.len() >= KEYS_MAX {
            key = DecisionKey::other(key.verdict);
        } else {
            *self.sources.entry(Arc::clone(&key.source)).or_default() += 1;
        }
        *self.counts.entry(key).or_default() += 1;
    }

    pub(super) fn sorted(self) -> Vec<(DecisionKey, u64)> {
        let mut counts: Vec<_> = self.counts.into_iter().collect();
        counts.sort();
        counts
    }

    fn add(&mut self, key: &DecisionKey) -> bool {
        match self.counts.get_mut(key) {
            Some(count) => {
                *count = count.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// The key with `other` for what there are too many of.
    fn narrowed(&mut self, mut key: DecisionKey) -> DecisionKey {
        let own = [&mut key.reason, &mut key.policy, &mut key.rule, &mut key.source, &mut key.destination];
        for text in own {
            shorten(text);
        }
        let fields = [
            (Field::Method, &mut key.asked.method),
            (Field::Host, &mut key.asked.host),
            (Field::Path, &mut key.asked.path),
            (Field::Object, &mut key.asked.object),
            (Field::User, &mut key.asked.user),
        ];
        for (field, text) in fields {
            shorten(text);
            if text.is_empty() || **text == *OTHER {
                continue;
            }
            let most = if field == Field::User { USERS_MAX } else { TEXTS_MAX };
            let known = self.texts.entry((field, Arc::clone(&key.destination))).or_default();
            if known.contains(text) {
                continue;
            }
            if known.len() < most && self.counts.len() < KEYS_MAX {
                known.insert(Arc::clone(text));
            } else {
                *text = OTHER.into();
            }
        }
        for text in [&mut key.asked.place, &mut key.asked.address, &mut key.asked.protocol] {
            shorten(text);
        }
        key
    }
}

fn shorten(text: &mut Arc<str>) {
    if text.len() > TEXT_BYTES_MAX {
        *text = OTHER.into();
    }
}
