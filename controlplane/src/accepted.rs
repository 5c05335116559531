//! What was accepted last, of each object, and what therefore counts now.
//!
//! *Flow*: a look at the folders comes in; each object that is written well becomes the accepted one; each that
//! is not is stood in for by its last accepted version, or by its broken form. *Guarantees*: one fault concerns
//! one object; what cannot be told from a deletion is not taken for one; the same looks give the same input,
//! across restarts. *Caveats*: it is remembered after it is in force, so a crash between the two forgets an edit.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use api::{Admitted, Input, Kind, Name, Object, Place, Reason, Rejection};

mod kept;
mod memory;

#[cfg(test)]
mod tests;

use crate::watch::{documents::Written, folder::Look};
use kept::Kept;
use memory::Memory;

/// Most objects of all files together.
pub(crate) const OBJECTS_MAX: usize = 50_000;

/// The door that every object passes.
#[derive(Debug)]
pub(crate) struct Door {
    memory: Option<Memory>,
    kept: BTreeMap<Name, Kept>,
    input: Arc<Input>,
    /// What the memory did not do, until it does it again.
    forgetful: Option<Rejection>,
}

impl Door {
    /// A door that remembers in this directory.
    ///
    /// What cannot be read there is taken as absent, and said among the problems.
    pub(crate) fn remembering(directory: &Path) -> Self {
        let memory = Memory::new(directory);
        let (kept, forgetful) = match memory.read() {
            Ok(kept) => (kept, None),
            Err(cause) => (BTreeMap::new(), Some(trouble(&memory, &cause))),
        };
        Self { memory: Some(memory), kept, input: Arc::default(), forgetful }
    }

    /// A door that remembers nothing beyond this run.
    pub(crate) fn forgetful() -> Self {
        Self { memory: None, kept: BTreeMap::new(), input: Arc::default(), forgetful: None }
    }

    /// Passes everything that was seen, and says what counts now. True if something is to be remembered.
    pub(crate) fn pass(&mut self, look: &Look) -> (Arc<Input>, bool) {
        let before = std::mem::take(&mut self.kept);
        let mut passing =
            Passing { before, kept: BTreeMap::new(), objects: BTreeMap::new(), problems: Vec::new() };
        let counts = counting(look, &passing.before);
        let mut broken: BTreeMap<String, Rejection> = BTreeMap::new();
        for (file, written) in look.files.iter().flat_map(|file| file.written.iter().map(|w| (&file.name, w)))
        {
            let Some(name) = written.name() else {
                let Written::Bad { refused, .. } = written else { continue };
                passing.problems.push(refused.rejection.clone());
                broken.entry(file.clone()).or_insert_with(|| refused.rejection.clone());
                continue;
            };
            if let Some(other) = counts.get(&name).filter(|place| *place != written.place()) {
                passing.problems.push(second_place(&name, written.place(), other));
                continue;
            }
            if passing.objects.len() == OBJECTS_MAX {
                passing.problems.push(too_many(&name, written.place()));
                broken.entry(file.clone()).or_insert_with(|| too_many(&name, written.place()));
                continue;
            }
            passing.one(name, file, written);
        }
        let unreadable: Vec<Rejection> = look.unreadable.iter().filter_map(rejection).cloned().collect();
        passing.rest(&broken, unreadable.first());
        passing.problems.extend(unreadable);

        let remembered = passing.before == passing.kept;
        self.kept = passing.kept;
        passing.problems.extend(self.forgetful.clone());
        let objects: Vec<Admitted> = passing.objects.into_values().collect();
        if objects != self.input.objects
            || passing.problems != self.input.problems
            || self.input.generation == 0
        {
            let generation = self.input.generation + 1;
            self.input = Arc::new(Input { generation, objects, problems: passing.problems });
        }
        (Arc::clone(&self.input), !remembered)
    }

    /// Writes down what counts. Says so among the problems if that fails; true if they changed.
    pub(crate) fn remember(&mut self) -> bool {
        let Some(memory) = &self.memory else { return false };
        let trouble = memory.write(&self.kept).err().map(|cause| trouble(memory, &cause));
        std::mem::replace(&mut self.forgetful, trouble) != self.forgetful
    }
}

fn rejection(written: &Written) -> Option<&Rejection> {
    match written {
        Written::Bad { refused, .. } => Some(&refused.rejection),
        Written::Good { .. } => None,
    }
}

struct Passing {
    before: BTreeMap<Name, Kept>,
    kept: BTreeMap<Name, Kept>,
    objects: BTreeMap<Name, Admitted>,
    problems: Vec<Rejection>,
}

impl Passing {
    fn one(&mut self, name: Name, file: &str, written: &Written) {
        let before = self.before.get(&name);
        let (rejection, targets) = match written {
            Written::Good { place, object } => match forbidden(before, object, place) {
                None => {
                    // The same allocation where nothing changed, so that others see that nothing did.
                    let object = match before {
                        Some(kept) if kept.object == *object => Arc::clone(&kept.object),
                        _ => Arc::clone(object),
                    };
                    self.kept
                        .insert(name.clone(), Kept { object: Arc::clone(&object), file: file.to_owned() });
                    self.objects.insert(name, Admitted::Accepted { object });
                    return;
                }
                Some(rejection) => (rejection, None),
            },
            Written::Bad { refused, .. } => (refused.rejection.clone(), refused.targets.clone()),
        };
        let admitted = match (before, targets) {
            (Some(kept), _) => {
                self.kept
                    .insert(name.clone(), Kept { object: Arc::clone(&kept.object), file: file.to_owned() });
                Admitted::LastGood { object: Arc::clone(&kept.object), rejection }
            }
            (None, Some(targets)) => Admitted::DeniesTargets { name: name.clone(), targets, rejection },
            (None, None) => Admitted::Rejected { name: name.clone(), rejection },
        };
        self.objects.insert(name, admitted);
    }

    /// Objects that were accepted once and are not seen now: gone, unless that cannot be told.
    fn rest(&mut self, broken: &BTreeMap<String, Rejection>, unreadable: Option<&Rejection>) {
        let unseen: BTreeSet<Name> =
            self.before.keys().filter(|name| !self.objects.contains_key(*name)).cloned().collect();
        for name in unseen {
            let kept = &self.before[&name];
            let hidden = broken.get(&kept.file).or(unreadable).cloned();
            let rejection = match (hidden, name.kind) {
                (Some(rejection), _) => rejection,
                (None, Kind::Revocation) => taken_back(&name, &kept.file),
                (None, _) => continue,
            };
            self.kept.insert(name.clone(), kept.clone());
            let object = Arc::clone(&kept.object);
            self.objects.insert(name, Admitted::LastGood { object, rejection });
        }
    }
}

/// Which place of each object counts: the file that it was accepted from, else the first that is seen; so a file
/// that is added takes nothing from one that is there.
fn counting(look: &Look, before: &BTreeMap<Name, Kept>) -> BTreeMap<Name, Place> {
    let mut counts: BTreeMap<Name, Place> = BTreeMap::new();
    for written in look.files.iter().flat_map(|file| &file.written) {
        let Some(name) = written.name() else { continue };
        let place = written.place();
        match counts.get(&name) {
            Some(first) if first.file == place.file => {}
            Some(_) if before.get(&name).is_none_or(|kept| kept.file != place.file) => {}
            _ => drop(counts.insert(name, place.clone())),
        }
    }
    counts
}

/// What a new version may not be, given the one before: a revocation only grows.
fn forbidden(before: Option<&Kept>, object: &Object, place: &Place) -> Option<Rejection> {
    let (Object::Revocation(old), Object::Revocation(new)) = (before?.object.as_ref(), object) else {
        return None;
    };
    let field =
        match (old.spec.identity == new.spec.identity, new.spec.issued_before >= old.spec.issued_before) {
            (true, true) => return None,
            (false, _) => "spec.identity",
            (true, false) => "spec.issuedBefore",
        };
    Some(Rejection {
        place: place.clone(),
        object: Some(object.name()),
        field: field.to_owned(),
        reason: Reason::Conflict,
        message: "takes back what was revoked; a revocation only grows".to_owned(),
        remedy: format!(
            "write a new Revocation; {} until {} stays in force",
            old.spec.identity, old.spec.issued_before
        ),
    })
}

fn taken_back(name: &Name, file: &str) -> Rejection {
    Rejection {
        place: Place { file: file.to_owned(), line: 0 },
        object: Some(name.clone()),
        field: String::new(),
        reason: Reason::Conflict,
        message: "was taken out and stays in force: a revocation only grows".to_owned(),
        remedy: "new certificates of the identity are good; nothing needs to be done".to_owned(),
    }
}

fn second_place(name: &Name, second: &Place, first: &Place) -> Rejection {
    Rejection {
        place: second.clone(),
        object: Some(name.clone()),
        field: String::new(),
        reason: Reason::Duplicate,
        message: format!("is written a second time; the one at {first} counts"),
        remedy: "take one of them out".to_owned(),
    }
}

fn too_many(name: &Name, place: &Place) -> Rejection {
    Rejection {
        place: place.clone(),
        object: Some(name.clone()),
        field: String::new(),
        reason: Reason::TooLarge,
        message: format!("is beyond the {OBJECTS_MAX} objects that are read"),
        remedy: "take objects out".to_owned(),
    }
}

fn trouble(memory: &Memory, cause: &memory::MemoryError) -> Rejection {
    Rejection {
        place: Place { file: memory.path().display().to_string(), line: 0 },
        object: None,
        field: String::new(),
        reason: Reason::Unreadable,
        message: format!("what was accepted last is not remembered: {cause}"),
        remedy: "until this is mended, a bad edit followed by a restart takes its object away".to_owned(),
    }
}
