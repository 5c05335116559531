//! How a new root takes over from an old one, as a table. Pure.
//!
//! *Flow*: `Before` → `Distribute` (everybody believes both) → `Sign` (the new one signs) → `Retire` (only the new
//! one is believed) → `After` (the old key is destroyed). Each phase but the last can be left backwards.
//!
//! *Guarantees*: two rules carry all of it, in both directions. A root signs only when everybody has acknowledged
//! that they believe it, and is disbelieved only when no certificate that it signed is in use. So at no moment,
//! whatever is still under way to whom, does one proxy hold a certificate that another does not believe.

use std::fmt;

/// One of the two roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one that signed before the rotation.
    Old,
    /// The one that shall sign after it.
    New,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// There is only the old root.
    Before,
    /// Both are believed, the old one signs.
    Distribute,
    /// Both are believed, the new one signs.
    Sign,
    /// Only the new one is believed and signs; the old key still exists.
    Retire,
    /// The old key is gone.
    After,
}

/// In which direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the new root.
    Advance,
    /// Back to the old one.
    Back,
}

/// What must hold before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Every proxy and link has acknowledged the bundle that was sent to it last, and this root is in it.
    Believed(Which),
    /// No certificate signed by this root is in use or under way: every proxy and link has reported another one, or
    /// all have ended.
    Unused(Which),
    /// Every proxy and link has acknowledged the bundle that was sent to it last, and this root is not in it.
    Disbelieved(Which),
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |which: &Which| match which {
            Which::Old => "old",
            Which::New => "new",
        };
        match self {
            Self::Believed(which) => write!(out, "every proxy and link believes the {} root", name(which)),
            Self::Unused(which) => write!(out, "no certificate of the {} root is in use", name(which)),
            Self::Disbelieved(which) => {
                write!(out, "no proxy or link believes the {} root any more", name(which))
            }
        }
    }
}

/// A step that can be taken, once its needs hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where it leads.
    pub to: Phase,
    /// What must hold first.
    pub needs: &'static [Need],
}

impl Phase {
    /// The root that signs in this phase.
    pub fn signs(self) -> Which {
        match self {
            Self::Before | Self::Distribute => Which::Old,
            Self::Sign | Self::Retire | Self::After => Which::New,
        }
    }

    /// True if this root is in the bundles that are sent out in this phase.
    pub fn believes(self, which: Which) -> bool {
        match self {
            Self::Before => which == Which::Old,
            Self::Distribute | Self::Sign => true,
            Self::Retire | Self::After => which == Which::New,
        }
    }

    /// The step from here, or `None` where there is none: nothing comes before `Before`, after `After`, or back
    /// from it, where the old key is gone.
    pub fn step(self, direction: Direction) -> Option<Step> {
        use Direction::{Advance, Back};
        use Need::{Believed, Disbelieved, Unused};
        use Which::{New, Old};
        let (to, needs): (_, &[Need]) = match (self, direction) {
            (Self::Before, Advance) => (Self::Distribute, &[]),
            (Self::Distribute, Advance) => (Self::Sign, &[Believed(New)]),
            (Self::Sign, Advance) => (Self::Retire, &[Unused(Old)]),
            (Self::Retire, Advance) => (Self::After, &[Disbelieved(Old)]),
            // Only what signs or is believed differs from one phase to the next, so the way back asks the same
            // two questions about the other root. On a first way forward they hold by themselves.
            (Self::Distribute, Back) => (Self::Before, &[Unused(New)]),
            (Self::Sign, Back) => (Self::Distribute, &[Believed(Old)]),
            (Self::Retire, Back) => (Self::Sign, &[]),
            (Self::Before, Back) | (Self::After, Advance | Back) => return None,
        };
        Some(Step { to, needs })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ALL: [Phase; 5] = [Phase::Before, Phase::Distribute, Phase::Sign, Phase::Retire, Phase::After];

    #[test]
    fn the_table_is_a_line_that_can_be_walked_back() {
        for pair in ALL.windows(2) {
            assert_eq!(pair[0].step(Direction::Advance).map(|step| step.to), Some(pair[1]));
            let back = (pair[1] != Phase::After).then_some(pair[0]);
            assert_eq!(pair[1].step(Direction::Back).map(|step| step.to), back);
        }
        assert_eq!(Phase::Before.step(Direction::Back), None);
        assert_eq!(Phase::After.step(Direction::Advance), None);
    }

    #[test]
    fn what_signs_is_believed() {
        for phase in ALL {
            assert!(phase.believes(phase.signs()), "{phase:?}");
        }
    }

    /// Who is believed: the old root, the new one.
    type Believed = (bool, bool);

    /// One proxy: the bundle it holds and one under way to it, the root of its certificate and one under way.
    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    struct Proxy {
        believed: Believed,
        bundle_under_way: Option<Believed>,
        leaf: Which,
        leaf_under_way: Option<Which>,
    }

    fn in_bundle(bundle: Believed, which: Which) -> bool {
        match which {
            Which::Old => bundle.0,
            Which::New => bundle.1,
        }
    }

    impl Proxy {
        fn believes(self, which: Which) -> bool {
            in_bundle(self.believed, which)
        }

        fn acknowledged(self, which: Which, expected: bool) -> bool {
            self.believes(which) == expected && self.bundle_under_way.is_none()
        }

        fn uses(self, which: Which) -> bool {
            self.leaf == which || self.leaf_under_way == Some(which)
        }
    }

    fn holds(need: Need, proxies: [Proxy; 2]) -> bool {
        proxies.iter().all(|proxy| match need {
            Need::Believed(which) => proxy.acknowledged(which, true),
            Need::Disbelieved(which) => proxy.acknowledged(which, false),
            Need::Unused(which) => !proxy.uses(which),
        })
    }

    fn next(phase: Phase, proxies: [Proxy; 2]) -> Vec<(Phase, [Proxy; 2])> {
        let mut states = Vec::new();
        for direction in [Direction::Advance, Direction::Back] {
            if let Some(step) = phase.step(direction)
                && step.needs.iter().all(|need| holds(*need, proxies))
            {
                // Reaching a phase sends its bundle to everybody.
                let bundle = (step.to.believes(Which::Old), step.to.believes(Which::New));
                let sent = |proxy| Proxy { bundle_under_way: Some(bundle), ..proxy };
                states.push((step.to, proxies.map(sent)));
            }
        }
        for at in 0..proxies.len() {
            let mut change = |to: Proxy| {
                let mut changed = proxies;
                changed[at] = to;
                states.push((phase, changed));
            };
            let proxy = proxies[at];
            // It receives what is under way, or something is sent to it: in order, the last one counts.
            if let Some(believed) = proxy.bundle_under_way {
                change(Proxy { believed, bundle_under_way: None, ..proxy });
            }
            match proxy.leaf_under_way {
                Some(leaf) => change(Proxy { leaf, leaf_under_way: None, ..proxy }),
                None => change(Proxy { leaf_under_way: Some(phase.signs()), ..proxy }),
            }
        }
        states
    }

    #[test]
    fn no_order_of_steps_and_deliveries_breaks_a_handshake() {
        let begin =
            Proxy { believed: (true, false), bundle_under_way: None, leaf: Which::Old, leaf_under_way: None };
        let mut seen = HashSet::new();
        let mut waiting = vec![(Phase::Before, [begin; 2])];
        while let Some(state) = waiting.pop() {
            if !seen.insert(state) {
                continue;
            }
            let (phase, proxies) = state;
            for [one, other] in [[proxies[0], proxies[1]], [proxies[1], proxies[0]]] {
                assert!(one.believes(other.leaf), "{phase:?}: a certificate in use is not believed");
                assert!(one.believes(one.leaf), "{phase:?}: a proxy does not believe itself");
            }
            waiting.extend(next(phase, proxies));
        }
        // Every phase is reached, and the end with the new root alone.
        for phase in ALL {
            assert!(seen.iter().any(|(reached, _)| *reached == phase), "{phase:?}");
        }
        let ended = |(phase, proxies): &&(Phase, [Proxy; 2])| {
            *phase == Phase::After && proxies.iter().all(|proxy| proxy.believed == (false, true))
        };
        assert!(seen.iter().any(|state| ended(&state)));
    }

    #[test]
    fn needs_read_as_sentences() {
        assert_eq!(Need::Believed(Which::New).to_string(), "every proxy and link believes the new root");
        assert_eq!(Need::Unused(Which::Old).to_string(), "no certificate of the old root is in use");
    }
}
