//! The volumes of a pod: what each is made of, and how it comes to lie in a folder.
//!
//! [`plan()`] is pure; `files` gathers what ConfigMaps, Secrets, tokens and fields say, `atomic`
//! writes it, `folders` makes the others. All lie under the pod's folder on the node's own file
//! system; only `emptyDir` with medium Memory is a file system of its own.

pub mod atomic;
pub mod files;
pub mod folders;
pub mod plan;

use std::{collections::BTreeMap, path::PathBuf};

pub use files::Keeper;
pub use plan::{Piece, Source, Volume, plan};

/// Where each volume of a pod lies, by name.
pub type Mounted = BTreeMap<String, PathBuf>;

/// Why a volume could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// An object that it is made of is missing, and not optional.
    #[error("MountVolume.SetUp failed for volume {volume:?}: {object} not found")]
    NoObject {
        /// The volume.
        volume: String,
        /// The object.
        object: crate::objects::ObjectRef,
    },
    /// A kind that this node cannot give.
    #[error("volume {volume:?}: {why}")]
    Refused {
        /// The volume.
        volume: String,
        /// Why.
        why: String,
    },
    /// Anything else.
    #[error("MountVolume.SetUp failed for volume {volume:?}: {why}")]
    Failed {
        /// The volume.
        volume: String,
        /// Why.
        why: String,
    },
}
