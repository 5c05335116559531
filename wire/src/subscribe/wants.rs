//! What was asked for on demand: who waits for it, whether it is settled, when it was used last. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::Want;

/// Most callers that wait for one name.
const WAITERS_MAX: usize = 1024;

/// Why a name was not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WantError {
    /// Too many names are asked for, or too many callers wait for this one.
    #[error("too much is asked for at once")]
    TooMany,
    /// The subscriber has stopped.
    #[error("the subscriber has stopped")]
    Stopped,
}

/// How one caller learns that its name is settled.
pub(crate) type Waiter = oneshot::Sender<Result<(), WantError>>;

/// The table.
#[derive(Debug)]
pub(crate) struct Wants {
    most: usize,
    entries: BTreeMap<Want, Entry>,
}

#[derive(Debug)]
struct Entry {
    used: Instant,
    settled: bool,
    waiters: Vec<Waiter>,
}

/// What asking led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// To be subscribed.
    pub(crate) new: Option<Want>,
    /// To be unsubscribed, to make room.
    pub(crate) gone: Option<Want>,
}

impl Wants {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, entries: BTreeMap::new() }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Want> {
        self.entries.keys()
    }

    /// A caller asks. It is answered at once where the name is settled, or cannot be asked for.
    pub(crate) fn ask(&mut self, want: Want, waiter: Waiter, now: Instant) -> Asked {
        if let Some(entry) = self.entries.get_mut(&want) {
            entry.used = now;
            entry.waiters.retain(|waiter| !waiter.is_closed());
            if entry.settled {
                answer(waiter, Ok(()));
            } else if entry.waiters.len() >= WAITERS_MAX {
                answer(waiter, Err(WantError::TooMany));
            } else {
                entry.waiters.push(waiter);
            }
            return Asked::default();
        }
        let gone = if self.entries.len() < self.most { None } else { self.oldest() };
        if self.entries.len() >= self.most && gone.is_none() {
            answer(waiter, Err(WantError::TooMany));
            return Asked::default();
        }
        if let Some(gone) = &gone {
            self.entries.remove(gone);
        }
        self.entries.insert(want.clone(), Entry { used: now, settled: false, waiters: vec![waiter] });
        Asked { new: Some(want), gone }
    }

    /// The settled one that was not used for longest.
    fn oldest(&self) -> Option<Want> {
        let settled = self.entries.iter().filter(|(_, entry)| entry.settled);
        settled.min_by_key(|(_, entry)| entry.used).map(|(want, _)| want.clone())
    }

    /// A checkpoint settled this name.
    pub(crate) fn settled(&mut self, want: &Want) {
        if let Some(entry) = self.entries.get_mut(want) {
            entry.settled = true;
            for waiter in entry.waiters.drain(..) {
                answer(waiter, Ok(()));
            }
        }
    }

    /// Gives up what was not used for so long; `in_use` may object.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        idle: Duration,
        in_use: impl Fn(&Want) -> bool,
    ) -> Vec<Want> {
        let mut gone = Vec::new();
        self.entries.retain(|want, entry| {
            if now.saturating_duration_since(entry.used) < idle {
                return true;
            }
            entry.waiters.retain(|waiter| !waiter.is_closed());
            if !entry.waiters.is_empty() || in_use(want) {
                entry.used = now;
                return true;
            }
            gone.push(want.clone());
            false
        });
        gone
    }
}

fn answer(waiter: Waiter, answer: Result<(), WantError>) {
    // Who asked may have given up meanwhile.
    let _ = waiter.send(answer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(name: &str) -> Want {
        name.parse().expect("the tests ask for names")
    }

    fn ask(wants: &mut Wants, name: &str, now: Instant) -> (Asked, oneshot::Receiver<Result<(), WantError>>) {
        let (waiter, answer) = oneshot::channel();
        (wants.ask(want(name), waiter, now), answer)
    }

    #[test]
    fn a_name_is_asked_for_once_and_all_who_wait_are_answered() {
        let now = Instant::now();
        let mut wants = Wants::new(2);
        let (first, mut a) = ask(&mut wants, "a", now);
        let (second, mut b) = ask(&mut wants, "a", now);
        assert_eq!((first.new, second.new), (Some(want("a")), None));
        assert!(a.try_recv().is_err());
        wants.settled(&want("a"));
        assert_eq!((a.try_recv(), b.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
        let (_, mut later) = ask(&mut wants, "a", now);
        assert_eq!(later.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn the_table_is_bounded_and_makes_room_only_of_what_is_settled() {
        let now = Instant::now();
        let mut wants = Wants::new(2);
        let _a = ask(&mut wants, "a", now);
        let _b = ask(&mut wants, "b", now + Duration::from_secs(1));
        let (asked, mut refused) = ask(&mut wants, "c", now);
        assert_eq!(asked, Asked::default());
        assert_eq!(refused.try_recv(), Ok(Err(WantError::TooMany)));
        wants.settled(&want("a"));
        wants.settled(&want("b"));
        assert_eq!(ask(&mut wants, "c", now).0, Asked { new: Some(want("c")), gone: Some(want("a")) });
    }

    #[test]
    fn what_is_not_used_is_given_up_unless_something_depends_on_it() {
        let now = Instant::now();
        let idle = Duration::from_secs(60);
        let mut wants = Wants::new(8);
        let kept: Vec<_> = ["a", "b"].map(|name| ask(&mut wants, name, now)).into();
        wants.settled(&want("a"));
        wants.settled(&want("b"));
        drop(kept);
        assert!(wants.sweep(now + idle - Duration::from_nanos(1), idle, |_| false).is_empty());
        assert_eq!(wants.sweep(now + idle, idle, |name| *name == want("b")), [want("a")]);
        assert_eq!(wants.names().cloned().collect::<Vec<_>>(), [want("b")]);
    }
}
