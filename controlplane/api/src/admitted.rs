//! What comes out of the door: each object as it was accepted, or what stands in for it and why.
//!
//! Pure data. `admit` makes it, `translate` reads it; it is the whole of what the past decides about
//! objects, so `translate` can be a function of it alone.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    access::{ClusterTargets, Mode},
    object::{Name, Object},
    refs::{TargetRef, TargetSelector},
};

/// Why an object is not accepted, as one word for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The text is not YAML or JSON.
    Syntax,
    /// A field that the kind does not have.
    UnknownField,
    /// A field that must be there is not.
    MissingField,
    /// A value of the wrong type, or none of those that are allowed.
    Invalid,
    /// Fields that contradict one another.
    Conflict,
    /// The same object stands in two places.
    Duplicate,
    /// It has this shape, and nothing here can do it yet.
    NotBuiltYet,
    /// A kind or a version that is not read here.
    UnknownKind,
    /// Beyond a limit of size, number or depth.
    TooLarge,
    /// A file could not be read.
    Unreadable,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

/// Where an object was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Place {
    /// The file, relative to the watched folder; empty where there are no files.
    pub file: String,
    /// The line, from 1; 0 where there are none.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => out.write_str(&self.file),
            line => write!(out, "{}:{line}", self.file),
        }
    }
}

/// Why an object was not accepted, so that a person can mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rejection {
    /// Where the fault is.
    #[serde(default)]
    pub place: Place,
    /// The object, if its name could be read.
    pub object: Option<Name>,
    /// The field, as a path: `spec.rules[0].from[0].serviceAccounts`. Empty for the whole object.
    pub field: String,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// What to do; empty if the message says it.
    pub remedy: String,
}

/// One line: `shop.yaml:14: AccessPolicy shop/tools: spec.rules[0].from[0].tools: unknown field; did you mean ...?`
impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.file.is_empty() {
            write!(out, "{}: ", self.place)?;
        }
        if let Some(object) = &self.object {
            write!(out, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(out, "{}: ", self.field)?;
        }
        out.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(out, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// What a broken policy would have applied to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Targets {
    /// Of an `AccessPolicy`, `GuardPolicy` or `QuotaPolicy`: in its own namespace.
    Namespaced {
        /// By name.
        refs: Vec<TargetRef>,
        /// By labels; of access policies only.
        selectors: Vec<TargetSelector>,
    },
    /// Of a `ClusterAccessPolicy`.
    Cluster(ClusterTargets),
}

/// One object, as the world knows it.
#[derive(Debug, Clone, PartialEq)]
pub enum Admitted {
    /// As it is written now.
    Accepted {
        /// The object.
        object: Arc<Object>,
    },
    /// What is written now is rejected; the last accepted version stays.
    LastGood {
        /// The last accepted version.
        object: Arc<Object>,
        /// Why what is written now is not accepted.
        rejection: Rejection,
    },
    /// An access policy, guard or quota that was never accepted, whose targets can be read: they are denied.
    DeniesTargets {
        /// The policy.
        name: Name,
        /// What it denies.
        targets: Targets,
        /// Why it is not accepted.
        rejection: Rejection,
    },
    /// Any other object that was never accepted: it is absent.
    Rejected {
        /// The object.
        name: Name,
        /// Why it is not accepted.
        rejection: Rejection,
    },
}

impl Admitted {
    /// What names the object.
    pub fn name(&self) -> Name {
        match self {
            Self::Accepted { object } | Self::LastGood { object, .. } => object.name(),
            Self::DeniesTargets { name, .. } | Self::Rejected { name, .. } => name.clone(),
        }
    }

    /// The object that counts, if there is one.
    pub fn object(&self) -> Option<&Arc<Object>> {
        match self {
            Self::Accepted { object } | Self::LastGood { object, .. } => Some(object),
            Self::DeniesTargets { .. } | Self::Rejected { .. } => None,
        }
    }

    /// Why what is written now is not accepted, if it is not.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Accepted { .. } => None,
            Self::LastGood { rejection, .. }
            | Self::DeniesTargets { rejection, .. }
            | Self::Rejected { rejection, .. } => Some(rejection),
        }
    }
}

/// Everything that was read at one moment: at most one entry a name, sorted by name.
///
/// `generation` only grows within one run; two inputs of one run with the same generation are equal. An object
/// that did not change is the same `Arc` in both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// Counts the changes of `objects`.
    pub generation: u64,
    /// The objects, sorted by name.
    pub objects: Vec<Admitted>,
    /// What could be laid to no object: files that cannot be read, texts that are not YAML, unknown kinds,
    /// second places of an object.
    pub problems: Vec<Rejection>,
}

/// Whether a policy that is in audit would deny its targets if it were broken: it never decides, so it does not.
pub fn denies_when_broken(mode: Mode) -> bool {
    mode == Mode::Enforce
}
