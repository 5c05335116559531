//! Rotates the root while everything runs: distribute, sign, retire, each step back as well.
//!
//! *Flow*: `strait root` asks, the World's task calls [`Rotation::step`]: the table in `authority::rotation` says what
//! the step needs, `seen` who lacks it; then the new state is stored, and the World tells it to everybody.
//! *Guarantees*: no step is taken before everybody has what it needs; what is stored is ahead of what is told, so a
//! restart at any moment goes on from a phase that everybody is ready for.

mod seen;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::SystemTime,
};

use authority::{
    Held, Root, RootStore, Serial,
    root::{LIFETIME_DEFAULT, RootError, certificate_pem},
    rotation::{Direction, Phase, Which},
    serve::Roots,
};
use mesh::TrustDomain;
use serde::Serialize;

pub(crate) use seen::{Everybody, applied};

use crate::trust;

/// The file with the certificates that are believed, for those who join.
const ROOT_PEM: &str = "root.pem";

/// What is asked of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// How far is it?
    Status,
    /// Begin one.
    Rotate,
    /// Take the next step, or the last one back; these links need not have acknowledged.
    Step(Direction, BTreeSet<String>),
}

/// How far a rotation is, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    phase: &'static str,
    sequence: u64,
    roots: Vec<RootRow>,
    advance: Option<NextRow>,
    back: Option<NextRow>,
}

#[derive(Debug, Clone, Serialize)]
struct RootRow {
    which: &'static str,
    pin: String,
    not_after: String,
    signs: bool,
    believed: bool,
}

#[derive(Debug, Clone, Serialize)]
struct NextRow {
    to: &'static str,
    waits_for: Vec<String>,
}

/// The rotation of one trust domain's root.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    store: RootStore,
    pem: PathBuf,
    trust_domain: TrustDomain,
    held: Held,
}

impl Rotation {
    /// Opens the root of a state directory, or makes it; what is to be believed is written beside it.
    pub(crate) fn open(state: &Path, trust_domain: &TrustDomain) -> Result<Self, RootError> {
        let directory = state.join("root");
        let store = RootStore::open(&directory)?;
        let serial = Serial::from_random(trust::random());
        let held = store.load_or_create(trust_domain, LIFETIME_DEFAULT, SystemTime::now(), serial)?;
        let rotation =
            Self { store, pem: directory.join(ROOT_PEM), trust_domain: trust_domain.clone(), held };
        rotation.write_pem()?;
        Ok(rotation)
    }

    /// The roots of now.
    pub(crate) fn roots(&self) -> Roots {
        Roots::of(&self.held)
    }

    /// Takes a step, once everybody is ready for it. The caller tells the roots that follow from it.
    ///
    /// # Errors
    /// A text for people: who is not ready, or why there is no such step.
    pub(crate) fn step(&mut self, asked: &Asked, everybody: &Everybody<'_>) -> Result<bool, String> {
        let held = match asked {
            Asked::Status => return Ok(false),
            Asked::Rotate => self.begun(everybody.now)?,
            Asked::Step(direction, excused) => {
                everybody.know(excused)?;
                let none = || no_step(self.held.phase(), *direction).to_owned();
                let step = self.held.phase().step(*direction).ok_or_else(none)?;
                // A rotation is begun by name, never by advancing.
                let after = self.held.after(*direction, everybody.now).ok_or_else(none)?;
                let waits = everybody.waits(&self.held, step.needs, excused);
                if !waits.is_empty() {
                    return Err(format!("not yet, from {}: {}", name(self.held.phase()), waits.join("; ")));
                }
                after
            }
        };
        self.store.replace(&self.trust_domain, &held).map_err(|cause| cause.to_string())?;
        self.held = held;
        if let Err(cause) = self.write_pem() {
            // Who joins needs it; who is here is told by the bundle.
            tracing::error!(%cause, "the file for those who join is not the one of now");
        }
        tracing::warn!(phase = name(self.held.phase()), sequence = self.held.sequence(), "the root rotates");
        Ok(true)
    }

    fn begun(&self, now: SystemTime) -> Result<Held, String> {
        let under_way = || {
            format!(
                "a rotation is under way ({}): `strait root advance` or `strait root back`",
                name(self.held.phase())
            )
        };
        if self.held.phase() != Phase::Before {
            return Err(under_way());
        }
        let serial = Serial::from_random(trust::random());
        let new = Root::generate(&self.trust_domain, LIFETIME_DEFAULT, now, serial);
        self.held.begin(new.map_err(|cause| cause.to_string())?).ok_or_else(under_way)
    }

    /// How far it is.
    pub(crate) fn status(&self, everybody: &Everybody<'_>) -> Status {
        let phase = self.held.phase();
        let row = |which: Which| {
            let root = self.held.root(which)?;
            Some(RootRow {
                which: match which {
                    Which::Old => "old",
                    Which::New => "new",
                },
                pin: authority::spki_pin(root.certificate_der()).unwrap_or_default(),
                not_after: crate::status::time_text(crate::status::seconds(root.not_after())),
                signs: phase.signs() == which,
                believed: phase.believes(which),
            })
        };
        let next = |direction| {
            self.held.after(direction, everybody.now)?;
            let step = phase.step(direction)?;
            let waits_for = everybody.waits(&self.held, step.needs, &BTreeSet::new());
            Some(NextRow { to: name(step.to), waits_for })
        };
        Status {
            phase: name(phase),
            sequence: self.held.sequence(),
            roots: [Which::Old, Which::New].into_iter().filter_map(row).collect(),
            advance: next(Direction::Advance),
            back: next(Direction::Back),
        }
    }

    /// Written whole beside its place: who joins never reads half of it.
    fn write_pem(&self) -> Result<(), RootError> {
        let text: String = self.held.believed().iter().map(|root| certificate_pem(root)).collect();
        if std::fs::read_to_string(&self.pem).is_ok_and(|written| written == text) {
            return Ok(());
        }
        let beside = self.pem.with_extension("pem.new");
        let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &self.pem));
        written.map_err(|cause| RootError::Content {
            path: self.pem.display().to_string(),
            cause: cause.to_string(),
        })
    }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Before => "settled",
        Phase::Distribute => "distribute",
        Phase::Sign => "sign",
        Phase::Retire => "retire",
        Phase::After => "finished",
    }
}

fn no_step(phase: Phase, direction: Direction) -> &'static str {
    match (phase, direction) {
        (Phase::Before, Direction::Advance) => {
            "no rotation is under way: begin one with `strait root rotate`"
        }
        _ => "no rotation is under way: there is nothing to go back from",
    }
}
