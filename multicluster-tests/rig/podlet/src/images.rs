//! Images: folders that the rig assembled, no registry.
//!
//! `registry/some/where/NAME:tag@digest` is the folder NAME; tag and digest say nothing here.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// An image that was found.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// What runs, unless the pod's `command` says otherwise.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Its arguments, unless the pod's `command` or `args` say otherwise.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// `uid:gid`, in numbers.
    #[serde(default)]
    pub user: String,
    /// Working folder.
    #[serde(default)]
    pub workdir: String,
    /// Folders of the machine that are mounted read-only at the same place.
    #[serde(default)]
    pub binds: Vec<PathBuf>,
    /// The image's folder; `rootfs` is in it.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No folder has the name.
    #[error("no image {name:?}: the rig pulls nothing, and {folder} is missing; there are: {known}")]
    Missing {
        /// The name looked for.
        name: String,
        /// The folder that would be it.
        folder: PathBuf,
        /// Names there are.
        known: String,
    },
    /// Its description cannot be read.
    #[error("image {folder} is broken: {cause}")]
    Broken {
        /// The image's folder.
        folder: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// The folder's name in a reference.
pub fn name(reference: &str) -> &str {
    let without_digest = reference.split('@').next().unwrap_or_default();
    let last = without_digest.rsplit('/').next().unwrap_or_default();
    last.split(':').next().unwrap_or_default()
}

/// Finds the image that a reference means.
///
/// # Errors
/// When there is none, or it is broken.
pub fn find(images: &Path, reference: &str) -> Result<Image, ImageError> {
    let name = name(reference);
    let folder = images.join(name);
    if name.is_empty() || name.starts_with('.') || !folder.join("rootfs").is_dir() {
        return Err(ImageError::Missing { name: name.to_owned(), folder, known: known(images) });
    }
    let broken = |cause| ImageError::Broken { folder: folder.clone(), cause };
    let text = std::fs::read(folder.join("image.json")).map_err(broken)?;
    let mut image: Image = serde_json::from_slice(&text).map_err(|cause| broken(io::Error::other(cause)))?;
    image.folder = folder;
    Ok(image)
}

fn known(images: &Path) -> String {
    let entries = std::fs::read_dir(images).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_reference_without_tag_and_digest_is_the_name() {
        for (reference, expected) in [
            ("debian", "debian"),
            ("nginx:1.27", "nginx"),
            ("registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0", "echo-basic"),
            ("localhost:5000/a/pause@sha256:00", "pause"),
            ("localhost:5000/a/pause:3@sha256:00", "pause"),
            ("", ""),
        ] {
            assert_eq!(name(reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_missing_image_names_the_folder_and_those_there_are() {
        let images = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(images.path().join("debian/rootfs")).unwrap();
        let error = find(images.path(), "x/what:1").unwrap_err().to_string();
        assert!(error.contains("/what is missing; there are: debian"), "{error}");
        assert!(matches!(find(images.path(), "x/..").unwrap_err(), ImageError::Missing { .. }));
        std::fs::write(images.path().join("debian/image.json"), r#"{"cmd":["sh"]}"#).unwrap();
        assert_eq!(find(images.path(), "debian:12").unwrap().cmd, ["sh"]);
    }
}
