//! What an authority holds: the root that signs, and while one takes over from another, both. Pure.
//!
//! `rotation` says which step leads where and what it needs; this says what is held after a step, and from when
//! nothing that a root signed is valid any more.

use std::{sync::Arc, time::SystemTime};

use crate::{
    root::Root,
    rotation::{Direction, Phase, Which},
    sign::LIFETIME_MOST,
};

/// The roots of a trust domain, and how far one is on its way to take over from the other.
#[derive(Debug, Clone)]
pub struct Held {
    old: Arc<Root>,
    replacing: Option<Replacing>,
    sequence: u64,
}

/// One root takes over from another.
#[derive(Debug, Clone)]
pub(super) struct Replacing {
    pub(super) phase: Phase,
    pub(super) new: Arc<Root>,
    /// When the root that does not sign now did so last; none if it never did.
    pub(super) idle_since: Option<SystemTime>,
}

impl Held {
    /// One root, and no rotation.
    pub fn of(root: Root) -> Self {
        Self::stored(Arc::new(root), None, 1)
    }

    pub(super) fn stored(old: Arc<Root>, replacing: Option<Replacing>, sequence: u64) -> Self {
        Self { old, replacing, sequence }
    }

    pub(super) fn replacing(&self) -> Option<&Replacing> {
        self.replacing.as_ref()
    }

    /// How far the rotation is: `Before` if there is none.
    pub fn phase(&self) -> Phase {
        self.replacing.as_ref().map_or(Phase::Before, |replacing| replacing.phase)
    }

    /// Grows with every step: the sequence of the bundle.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// One of the roots; the new one is there only during a rotation.
    pub fn root(&self, which: Which) -> Option<&Arc<Root>> {
        match which {
            Which::Old => Some(&self.old),
            Which::New => self.replacing.as_ref().map(|replacing| &replacing.new),
        }
    }

    /// The root that signs now.
    pub fn signing(&self) -> Arc<Root> {
        let new = self.replacing.as_ref().filter(|replacing| replacing.phase.signs() == Which::New);
        Arc::clone(new.map_or(&self.old, |replacing| &replacing.new))
    }

    /// The certificates to be believed now (DER), the one that signs first.
    pub fn believed(&self) -> Vec<Vec<u8>> {
        let phase = self.phase();
        let mut order = [Which::Old, Which::New];
        if phase.signs() == Which::New {
            order.reverse();
        }
        let believed = order.into_iter().filter(|which| phase.believes(*which));
        believed.filter_map(|which| self.root(which)).map(|root| root.certificate_der().to_vec()).collect()
    }

    /// From when nothing that this root signed is valid any more; `None` while it signs.
    pub fn unused_from(&self, which: Which) -> Option<SystemTime> {
        if self.phase().signs() == which {
            return None;
        }
        match self.replacing.as_ref().and_then(|replacing| replacing.idle_since) {
            Some(idle_since) => idle_since.checked_add(LIFETIME_MOST),
            None => Some(SystemTime::UNIX_EPOCH),
        }
    }

    /// What is held once a rotation to `new` has begun; `None` if one has already.
    pub fn begin(&self, new: Root) -> Option<Self> {
        if self.replacing.is_some() {
            return None;
        }
        let replacing = Replacing { phase: Phase::Distribute, new: Arc::new(new), idle_since: None };
        Some(Self { old: Arc::clone(&self.old), replacing: Some(replacing), sequence: self.sequence + 1 })
    }

    /// What is held after the next step of a rotation, or `None` where there is none. Whether the step may be taken
    /// is for the caller to know, from the step's needs.
    pub fn after(&self, direction: Direction, now: SystemTime) -> Option<Self> {
        let replacing = self.replacing.as_ref()?;
        let to = replacing.phase.step(direction)?.to;
        let sequence = self.sequence + 1;
        let (old, new) = (Arc::clone(&self.old), Arc::clone(&replacing.new));
        match to {
            Phase::Before => Some(Self::stored(old, None, sequence)),
            Phase::After => Some(Self::stored(new, None, sequence)),
            Phase::Distribute | Phase::Sign | Phase::Retire => {
                let handed_over = to.signs() != replacing.phase.signs();
                let idle_since = if handed_over { Some(now) } else { replacing.idle_since };
                Some(Self::stored(old, Some(Replacing { phase: to, new, idle_since }), sequence))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::serial::Serial;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn root(byte: u8) -> Root {
        let serial = Serial::from_random([byte; 16]);
        Root::generate(&"east.example".parse().unwrap(), 480 * LIFETIME_MOST, at(0), serial).unwrap()
    }

    #[test]
    fn each_phase_believes_whom_the_table_says_and_the_one_that_signs_first() {
        let held = Held::of(root(1));
        let old = held.signing().certificate_der().to_vec();
        assert!(
            held.after(Direction::Advance, at(0)).is_none() && held.after(Direction::Back, at(0)).is_none()
        );
        let distribute = held.begin(root(2)).unwrap();
        assert!(distribute.begin(root(3)).is_none(), "one at a time");
        let new = distribute.root(Which::New).unwrap().certificate_der().to_vec();
        let sign = distribute.after(Direction::Advance, at(10)).unwrap();
        let retire = sign.after(Direction::Advance, at(20)).unwrap();
        let ended = retire.after(Direction::Advance, at(30)).unwrap();
        let cases = [
            (&held, Phase::Before, vec![old.clone()], 1),
            (&distribute, Phase::Distribute, vec![old.clone(), new.clone()], 2),
            (&sign, Phase::Sign, vec![new.clone(), old.clone()], 3),
            (&retire, Phase::Retire, vec![new.clone()], 4),
            (&ended, Phase::Before, vec![new.clone()], 5),
        ];
        for (held, phase, believed, sequence) in cases {
            assert_eq!((held.phase(), held.sequence()), (phase, sequence));
            assert_eq!(held.believed(), believed, "{phase:?}");
            assert_eq!(held.signing().certificate_der(), believed[0], "{phase:?}");
        }
        assert!(ended.root(Which::New).is_none(), "the old key is gone");
        let back = retire.after(Direction::Back, at(40)).unwrap();
        assert_eq!((back.phase(), back.believed(), back.sequence()), (Phase::Sign, sign.believed(), 5));
        let back = back.after(Direction::Back, at(50)).unwrap();
        assert_eq!((back.phase(), back.believed()), (Phase::Distribute, distribute.believed()));
        let back = back.after(Direction::Back, at(60)).unwrap();
        assert_eq!((back.phase(), back.believed(), back.sequence()), (Phase::Before, vec![old], 7));
    }

    #[test]
    fn what_a_root_signed_is_unused_a_longest_life_after_it_signed_last() {
        let distribute = Held::of(root(1)).begin(root(2)).unwrap();
        assert_eq!(distribute.unused_from(Which::Old), None);
        assert_eq!(distribute.unused_from(Which::New), Some(SystemTime::UNIX_EPOCH), "it never signed");
        let sign = distribute.after(Direction::Advance, at(10)).unwrap();
        assert_eq!(sign.unused_from(Which::Old), Some(at(10) + LIFETIME_MOST));
        assert_eq!(sign.unused_from(Which::New), None);
        let retire = sign.after(Direction::Advance, at(20)).unwrap();
        assert_eq!(retire.unused_from(Which::Old), Some(at(10) + LIFETIME_MOST), "it signed no more since");
        let back = sign.after(Direction::Back, at(30)).unwrap();
        assert_eq!(back.unused_from(Which::New), Some(at(30) + LIFETIME_MOST));
        assert_eq!(back.unused_from(Which::Old), None);
    }
}
