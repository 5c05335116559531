//! Guards, compiled when they are first met, and kept until they change.

use std::{collections::HashMap, sync::Arc};

use mesh::{
    Denial, Reason,
    names::ObjectName,
    resource::{Direction, Guard, GuardAction, Mode},
};
use parking_lot::Mutex;

use crate::find::Finder;

/// Bytes of content that is read, where no guard says less.
pub const BYTES_MAX: usize = 4 << 20;
/// Most guards that are kept compiled; beyond it all are compiled anew.
const KEPT_MAX: usize = 4096;

/// The guards of a program.
#[derive(Debug, Default)]
pub struct Guards {
    compiled: Mutex<HashMap<ObjectName, Arc<Compiled>>>,
}

/// One guard, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) guard: Arc<Guard>,
    pub(crate) patterns: Vec<Pattern>,
    // It can look at nothing, for this reason.
    broken: Option<Arc<str>>,
}

/// One pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) name: Arc<str>,
    pub(crate) finder: Finder,
    pub(crate) direction: Direction,
    pub(crate) action: GuardAction,
}

/// The guards of one exchange; all apply.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub(crate) guards: Arc<Vec<Arc<Compiled>>>,
}

impl Guards {
    /// The rules that these guards make together.
    pub fn rules(&self, guards: &[Arc<Guard>]) -> Rules {
        if guards.is_empty() {
            return Rules::default();
        }
        let mut kept = self.compiled.lock();
        if kept.len() > KEPT_MAX {
            kept.clear();
        }
        let rules = guards.iter().map(|guard| match kept.get(&guard.name) {
            Some(compiled) if Arc::ptr_eq(&compiled.guard, guard) || compiled.guard == *guard => {
                Arc::clone(compiled)
            }
            _ => {
                let compiled = Arc::new(Compiled::new(guard));
                kept.insert(guard.name.clone(), Arc::clone(&compiled));
                compiled
            }
        });
        Rules { guards: Arc::new(rules.collect()) }
    }
}

impl Compiled {
    pub(crate) fn new(guard: &Arc<Guard>) -> Self {
        let mut broken = guard.broken.clone();
        let mut patterns = Vec::new();
        for pattern in &guard.patterns {
            match Finder::compile(&pattern.finds) {
                Ok(finder) => patterns.push(Pattern {
                    name: Arc::clone(&pattern.name),
                    finder,
                    direction: pattern.direction,
                    action: pattern.action,
                }),
                Err(error) => broken = Some(format!("pattern {}: {error}", pattern.name).into()),
            }
        }
        Self { guard: Arc::clone(guard), patterns, broken }
    }

    pub(crate) fn enforces(&self) -> bool {
        self.guard.mode == Mode::Enforce
    }

    /// The most bytes that it lets content of this direction have.
    fn said_max(&self, direction: Direction) -> Option<u64> {
        match direction {
            Direction::Request => self.guard.sizes.request,
            _ => self.guard.sizes.response,
        }
    }

    /// A refusal in the name of this guard. It never tells what was found.
    pub(crate) fn denial(&self, reason: Reason, rule: &str, detail: impl Into<Arc<str>>) -> Denial {
        Denial {
            policy: Some((self.guard.name.clone(), None)),
            rule: Some(rule.into()),
            ..Denial::plain(reason, detail)
        }
    }

    pub(crate) fn patterns(&self, direction: Direction) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter().filter(move |pattern| meets(pattern.direction, direction))
    }

    pub(crate) fn asks(&self, direction: Direction) -> bool {
        self.guard.external.as_ref().is_some_and(|external| meets(external.direction, direction))
    }
}

/// True if something that is said of one direction holds in the other.
pub(crate) fn meets(said: Direction, direction: Direction) -> bool {
    said == Direction::Both || said == direction
}

impl Rules {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.guards.is_empty()
    }

    /// True if this guard is among them.
    pub fn has(&self, name: &ObjectName) -> bool {
        self.guards.iter().any(|it| it.guard.name == *name)
    }

    /// True if content of this direction is read, and not only measured.
    pub fn reads(&self, direction: Direction) -> bool {
        self.guards.iter().any(|it| it.patterns(direction).next().is_some() || it.asks(direction))
    }

    /// The most bytes that content of this direction may have.
    pub fn bytes_max(&self, direction: Direction) -> usize {
        self.said_max(direction).unwrap_or(BYTES_MAX)
    }

    /// The most bytes that content of this direction may have, where a guard says so.
    pub(crate) fn said_max(&self, direction: Direction) -> Option<usize> {
        let sizes = self.guards.iter().filter(|it| it.enforces()).filter_map(|it| it.said_max(direction));
        sizes.min().map(|size| usize::try_from(size).map_or(BYTES_MAX, |size| size.min(BYTES_MAX)))
    }

    /// The refusal of what is larger than that.
    pub(crate) fn too_large(&self, direction: Direction) -> Denial {
        let limit = self.bytes_max(direction);
        let says = |it: &&Arc<Compiled>| {
            let size = it.said_max(direction);
            it.enforces() && size.is_some_and(|size| usize::try_from(size) == Ok(limit))
        };
        let detail = format!("the content has more than {limit} bytes");
        match self.guards.iter().find(says).or(self.guards.first()) {
            Some(guard) => guard.denial(Reason::TooMuch, "sizes", detail),
            None => Denial::plain(Reason::TooMuch, detail),
        }
    }

    /// What guards in audit would have refused of content of this length.
    pub(crate) fn too_large_in_audit(&self, direction: Direction, length: usize) -> Vec<Denial> {
        let over = |it: &&Arc<Compiled>| {
            let size = it.said_max(direction);
            !it.enforces() && size.is_some_and(|size| length as u64 > size)
        };
        let detail = format!("the content has {length} bytes");
        let guards = self.guards.iter().filter(over);
        guards.map(|guard| guard.denial(Reason::TooMuch, "sizes", detail.as_str())).collect()
    }

    /// The names of guards in audit.
    pub(crate) fn in_audit(&self) -> impl Iterator<Item = &ObjectName> {
        self.guards.iter().filter(|it| !it.enforces()).map(|it| &it.guard.name)
    }

    /// The refusal of everything, where a guard cannot be realised.
    pub fn broken(&self) -> Option<Denial> {
        self.guards.iter().filter(|it| it.enforces()).find_map(|it| {
            let reason = it.broken.as_ref()?;
            Some(it.denial(Reason::GuardFailed, "", Arc::clone(reason)))
        })
    }

    /// The refusal of what a guard would have to read and cannot.
    pub(crate) fn unreadable(&self, direction: Direction, what: &str) -> Denial {
        let reads = |it: &&Arc<Compiled>| {
            it.enforces() && (it.patterns(direction).next().is_some() || it.asks(direction))
        };
        match self.guards.iter().find(reads) {
            Some(guard) => guard.denial(Reason::GuardFailed, "", what),
            None => Denial::plain(Reason::GuardFailed, what),
        }
    }

    /// True if a guard that decides reads this direction: what it cannot read is refused.
    pub(crate) fn enforces(&self, direction: Direction) -> bool {
        self.guards
            .iter()
            .any(|it| it.enforces() && (it.patterns(direction).next().is_some() || it.asks(direction)))
    }
}
