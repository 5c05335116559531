//! The images of one rig: those of the cache, and those made of binaries that this repository built.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{catalogue, describe, rootfs};
use crate::cache::{Cache, ProgramError, create, remove};

/// Where binaries of ours are in their images: `/usr` is the machine's.
const OURS: &str = "app";

/// Makes `folder` show every image of the cache, as links; what [`add_binary`] put there stays.
///
/// The images of the cache must be there ([`super::assemble`]).
pub fn gather(cache: &Cache, folder: &Path) -> Result<(), ProgramError> {
    let from = cache.images();
    let failed = |cause| ProgramError::Cache { act: "list the images in", path: from.clone(), cause };
    create(folder)?;
    for entry in std::fs::read_dir(&from).map_err(failed)? {
        let image = entry.map_err(failed)?;
        let link = folder.join(image.file_name());
        if link.is_symlink() {
            remove(&link)?;
        }
        if !link.exists() {
            symlink(image.path(), &link).map_err(|cause| ProgramError::Cache {
                act: "link",
                path: link,
                cause,
            })?;
        }
    }
    Ok(())
}

/// Makes the image `name` in `folder` of a binary built from this repository, with Debian's programs beside it.
///
/// The binary is copied, so that building anew does not change what runs; doing this again replaces the image for
/// containers that start afterwards. It is the entrypoint, as `/app/FILE`, and `args` follow it unless the
/// container has its own.
pub fn add_binary(folder: &Path, name: &str, binary: &Path, args: &[&str]) -> Result<(), ProgramError> {
    let failed = |act, path: &Path, cause| ProgramError::Cache { act, path: path.to_owned(), cause };
    let file = binary.file_name().unwrap_or(OsStr::new(name));
    let inside = format!("/{OURS}/{}", file.to_string_lossy());
    let staging = folder.join(format!(".{name}.building"));
    remove(&staging)?;
    let root = staging.join("rootfs");
    let debian = catalogue::of_debian("", &[inside.as_str()], args, Vec::new());
    rootfs::fill(&root, &debian)?;
    create(&root.join(OURS))?;
    std::fs::copy(binary, root.join(OURS).join(file)).map_err(|cause| failed("copy", binary, cause))?;
    describe(&staging, &debian.image)?;
    let target = folder.join(name);
    remove(&target)?;
    std::fs::rename(&staging, &target).map_err(|cause| failed("move a finished image to", &target, cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Image;

    #[test]
    fn a_binary_becomes_an_image_and_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let images = folder.path().join("images");
        let binary = folder.path().join("strait");
        for (content, args) in [("first", ["node"]), ("second", ["waypoint"])] {
            std::fs::write(&binary, content).expect("a file");
            add_binary(&images, "strait", &binary, &args).expect("an image");
            let root = images.join("strait/rootfs");
            assert_eq!(std::fs::read_to_string(root.join("app/strait")).expect("the copy"), content);
            assert!(root.join("bin").is_symlink() && root.join("usr").is_dir() && root.join("proc").is_dir());
            let text = std::fs::read_to_string(images.join("strait/image.json")).expect("a description");
            let image: Image = serde_json::from_str(&text).expect("an image");
            assert_eq!(image.entrypoint, ["/app/strait"]);
            assert_eq!(image.cmd, args);
            assert!(image.binds.contains(&"/usr".to_owned()), "{:?}", image.binds);
        }
        let names: Vec<_> = std::fs::read_dir(&images).expect("a folder").collect();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    }

    #[test]
    fn a_rig_sees_the_images_of_the_cache_and_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::at(folder.path().join("cache"), None);
        create(&cache.images().join("pause")).expect("a folder");
        let images = folder.path().join("images");
        let binary = folder.path().join("strait");
        std::fs::write(&binary, "").expect("a file");
        add_binary(&images, "strait", &binary, &[]).expect("an image");
        for _ in 0..2 {
            gather(&cache, &images).expect("links");
            assert!(images.join("pause").is_dir() && images.join("strait/rootfs").is_dir());
        }
    }
}
