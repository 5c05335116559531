//! Where a rig keeps its state on disk, and what it writes there about itself.
//!
//! Everything of the rig `<id>` is below one folder, so that sweeping it is removing that folder after its
//! processes, mounts and namespaces.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rig_network::plan::Reach;
use serde::{Deserialize, Serialize};

use crate::process::{Identity, Processes};

/// The folder of one rig.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    id: String,
    folder: PathBuf,
}

/// What a rig says about itself in `rig.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The rig's id.
    pub(crate) id: String,
    /// How many clusters.
    pub(crate) clusters: u8,
    /// How many nodes each cluster has.
    pub(crate) nodes: u8,
    /// How far pods reach.
    pub(crate) reach: Reach,
    /// The process with which the rig dies; none for one that stays.
    pub(crate) owner: Option<Identity>,
    /// The loopback ports of the API servers, cluster 1 first; filled in when they answer.
    pub(crate) ports: Vec<u16>,
    /// Whether everything was ready once.
    pub(crate) ready: bool,
}

/// The folder above all rigs: `/run/strait-rig` for root.
pub(crate) fn above() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return PathBuf::from("/run/strait-rig");
    }
    std::env::temp_dir().join(format!("strait-rig-{uid}"))
}

/// The ids of the rigs that have a folder.
pub(crate) fn ids() -> Vec<String> {
    let Ok(entries) = fs::read_dir(above()) else { return Vec::new() };
    let mut ids: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("rig.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids
}

impl Home {
    /// The folder of the rig `id`, whether or not it is there.
    pub(crate) fn of(id: &str) -> Self {
        Self { id: id.to_owned(), folder: above().join(id) }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a cluster.
    pub(crate) fn cluster(&self, cluster: u8) -> PathBuf {
        self.folder.join(format!("c{cluster}"))
    }

    /// The processes of this rig.
    pub(crate) fn processes(&self) -> Processes {
        Processes::below(&self.folder)
    }

    /// Makes the folder and its parts.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        self.processes().create()?;
        Ok(())
    }

    /// Writes `rig.json`, whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(record)?;
        write_whole(&self.folder.join("rig.json"), &text)
    }

    /// Reads `rig.json`.
    pub(crate) fn read(&self) -> anyhow::Result<Record> {
        let path = self.folder.join("rig.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!("no rig named {} is up; start one with: cargo xtask rig up --id {}", self.id, self.id)
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&text).with_context(|| format!("{} is not a rig's record", path.display()))
    }
}

/// Writes a file so that no reader sees half of it.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).with_context(|| format!("cannot write {}", draft.display()))?;
    fs::rename(&draft, path).with_context(|| format!("cannot write {}", path.display()))
}
