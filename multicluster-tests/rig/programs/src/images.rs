//! Folders that stand in for container images: `NAME/rootfs` and `NAME/image.json`.
//!
//! There is no registry. A pod's image `registry/x/NAME:tag` means the folder `NAME`. A root file system has only
//! what a container needs that the machine cannot lend: programs of Debian come by a read-only mount of the
//! machine's `/usr`. All of it is shared by all pods, so that whoever runs one writes elsewhere (an overlay).

mod added;
mod catalogue;
mod rootfs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, ProgramError, create, remove};
use crate::program::Program;
use crate::recipe::sum_of;

pub use added::{add_binary, gather};

/// How a container of an image starts: `image.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Image {
    /// What is run; a container's `command` replaces it, and then `cmd` is not used either.
    pub entrypoint: Vec<String>,
    /// What follows the entrypoint; a container's `args` replace it.
    pub cmd: Vec<String>,
    /// Environment before the container's own.
    pub env: BTreeMap<String, String>,
    /// Numbers of user and group, as `0:0`.
    pub user: String,
    /// Where it starts.
    pub workdir: String,
    /// Folders of the machine, mounted read-only at the same path.
    pub binds: Vec<String>,
}

/// The programs that images contain.
const PROGRAMS: [Program; 5] =
    [Program::CoreDns, Program::EchoBasic, Program::EchoClient, Program::EchoServer, Program::Pause];

impl Cache {
    /// The folder of all images, there once [`assemble`] made it.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root().join("images").join(sum(self))
    }
}

/// Makes the programs that are in images where they are missing, and lays out every image that this machine can.
pub fn assemble(cache: &Cache, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, ProgramError> {
    let folder = cache.images();
    if folder.is_dir() {
        return Ok(folder);
    }
    cache.ensure(&PROGRAMS, progress)?;
    let _lock = cache.lock("images", "the folders of images", progress)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let staging = cache.root().join(".images.building");
    remove(&staging)?;
    for definition in catalogue::all(cache) {
        rootfs::lay_out(&staging, &definition)?;
    }
    create(&cache.root().join("images"))?;
    std::fs::rename(&staging, &folder).map_err(|cause| ProgramError::Cache {
        act: "move finished images to",
        path: folder.clone(),
        cause,
    })?;
    Ok(folder)
}

/// Writes `image.json`.
fn describe(folder: &Path, image: &Image) -> Result<(), ProgramError> {
    let mut text = serde_json::to_string_pretty(image).expect("texts and lists of them are JSON");
    text.push('\n');
    crate::cache::write(&folder.join("image.json"), &text)
}

/// The sum over the texts that decide what images are like, the programs in them, and what this machine has.
fn sum(cache: &Cache) -> String {
    let mut parts =
        vec![include_str!("images/catalogue.rs").to_owned(), include_str!("images/rootfs.rs").to_owned()];
    parts.extend(PROGRAMS.map(|program| program.set().sum()));
    for definition in catalogue::all(cache) {
        parts.push(definition.name.to_owned());
        parts.extend(definition.image.binds);
    }
    sum_of(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_as_it_was_written() {
        let text = r#"{"entrypoint": ["/x"], "cmd": [], "env": {"A": "b"}, "user": "0:0", "workdir": "/", "binds": ["/usr"]}"#;
        let image: Image = serde_json::from_str(text).expect("an image");
        assert_eq!(image.env["A"], "b");
        let again: Image =
            serde_json::from_str(&serde_json::to_string(&image).expect("JSON")).expect("an image");
        assert_eq!(again, image);
    }

    #[test]
    fn every_image_has_what_starts_it() {
        let mut names = Vec::new();
        for definition in catalogue::all(&Cache::at("/cache".into(), None)) {
            let image = &definition.image;
            assert!(!image.entrypoint.is_empty() || !image.cmd.is_empty(), "{}", definition.name);
            assert!(image.env.contains_key("PATH") && image.user.contains(':') && image.workdir == "/");
            names.push(definition.name);
        }
        for name in ["debian", "echo-basic", "echo-advanced", "coredns", "pause"] {
            assert!(names.contains(&name), "{names:?} lack {name}");
        }
    }
}
