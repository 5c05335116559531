//! Which revisions of the protocol are known, and what each calls the same thing.

use std::fmt;

/// A revision of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// 2024-11-05: its messages; its own transport (two endpoints) passes to a Service that speaks it.
    V2024_11_05,
    /// 2025-03-26: batches.
    V2025_03_26,
    /// 2025-06-18.
    V2025_06_18,
    /// 2025-11-25: sessions.
    V2025_11_25,
    /// 2026-07-28: stateless; every request says its own version.
    V2026_07_28,
}

/// How a revision keeps state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `initialize` opens a session, which later requests name.
    Sessions,
    /// Every request stands alone.
    Stateless,
}

impl Revision {
    /// Every revision, newest first.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];

    /// What a request without a version is taken to be, as 2025-11-25 says.
    pub const UNSAID: Self = Self::V2025_03_26;

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision of a name. An unknown one is none: what it means is not known, so nothing is decided by it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.name() == name)
    }

    /// How it keeps state.
    pub fn era(self) -> Era {
        if self >= Self::V2026_07_28 { Era::Stateless } else { Era::Sessions }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_not() {
        for revision in Revision::ALL {
            assert_eq!(Revision::from_name(revision.name()), Some(revision));
        }
        for name in ["", "2026-07-29", "2026-07-28 ", "2026-7-28", "draft"] {
            assert_eq!(Revision::from_name(name), None);
        }
    }

    #[test]
    fn only_the_newest_is_stateless() {
        assert_eq!(Revision::V2026_07_28.era(), Era::Stateless);
        assert_eq!(Revision::V2025_11_25.era(), Era::Sessions);
    }
}
