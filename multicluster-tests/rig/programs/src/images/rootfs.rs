//! Lays out the root file system of an image.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::catalogue::{Content, Definition};
use super::describe;
use crate::cache::{ProgramError, create, write};

/// Folders that a container finds, or over which its runtime mounts.
const FOLDERS: [&str; 15] = [
    "dev",
    "etc",
    "home/nonroot",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var/lib",
    "var/log",
    "var/tmp",
];
/// What everybody may write to.
const OPEN: [&str; 2] = ["tmp", "var/tmp"];
/// Files over which the node mounts the pod's own.
const MOUNTED_OVER: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];
/// Debian keeps these inside `/usr`.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Lays out one image in `images/NAME`.
pub(super) fn lay_out(images: &Path, definition: &Definition) -> Result<(), ProgramError> {
    let folder = images.join(definition.name);
    fill(&folder.join("rootfs"), definition)?;
    describe(&folder, &definition.image)
}

/// Lays out a root file system with all that its definition has in it.
pub(super) fn fill(root: &Path, definition: &Definition) -> Result<(), ProgramError> {
    skeleton(root, &definition.image.binds)?;
    for (path, content) in &definition.files {
        let target = root.join(path);
        if let Some(parent) = target.parent() {
            create(parent)?;
        }
        match content {
            Content::Text(text) => write(&target, text)?,
            // In one cache, so on one disk; neither is ever written to again.
            Content::Program(program) => std::fs::hard_link(program, &target)
                .map_err(|cause| ProgramError::Cache { act: "link a program to", path: target, cause })?,
            Content::Certificate { key } => certificate(&target, &root.join(key))?,
        }
    }
    Ok(())
}

/// The folders and links of an empty root file system, with a place for each folder of the machine.
fn skeleton(root: &Path, binds: &[String]) -> Result<(), ProgramError> {
    for name in FOLDERS {
        create(&root.join(name))?;
    }
    for bind in binds {
        create(&root.join(bind.trim_start_matches('/')))?;
    }
    for name in OPEN {
        let path = root.join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o1777))
            .map_err(|cause| ProgramError::Cache { act: "open to everybody", path, cause })?;
    }
    for name in MOUNTED_OVER {
        write(&root.join(name), "")?;
    }
    for (name, target) in MERGED.map(|name| (name, format!("usr/{name}"))).into_iter().chain(in_run()) {
        let path = root.join(name);
        symlink(target, &path).map_err(|cause| ProgramError::Cache { act: "link", path, cause })?;
    }
    Ok(())
}

/// Old names of what is in `/run`, and of what the kernel knows.
fn in_run() -> [(&'static str, String); 3] {
    [
        ("var/run", "../run".to_owned()),
        ("var/lock", "../run/lock".to_owned()),
        ("etc/mtab", "../proc/self/mounts".to_owned()),
    ]
}

/// Nobody checks it: clients of the suite take any certificate.
fn certificate(certificate: &Path, key: &Path) -> Result<(), ProgramError> {
    let made =
        rcgen::generate_simple_self_signed(vec!["echo".to_owned()]).map_err(|error| ProgramError::Cache {
            act: "make the certificate",
            path: certificate.into(),
            cause: io::Error::other(error),
        })?;
    write(certificate, &made.cert.pem())?;
    write(key, &made.signing_key.serialize_pem())
}
