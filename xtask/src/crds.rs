//! `cargo xtask crds`: writes `charts/crds` from the types of `controlplane/api`, or says where they differ.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write nothing; fail if a file is not what it would be.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match options.check {
        true => check(),
        false => write(),
    }
}

/// Fails if a file is missing, differs, or is none of ours.
pub(crate) fn check() -> anyhow::Result<()> {
    let folder = folder();
    let wanted = wanted()?;
    let found = found(&folder)?;
    let names: Vec<&String> = wanted.keys().chain(found.keys()).collect();
    let wrong: Vec<String> = names
        .into_iter()
        .filter(|name| wanted.get(*name) != found.get(*name))
        .map(|name| folder.join(name).display().to_string())
        .collect();
    if !wrong.is_empty() {
        bail!("not what controlplane/api says: {}\nrun `cargo xtask crds`", wrong.join(", "));
    }
    Ok(())
}

fn write() -> anyhow::Result<()> {
    let folder = folder();
    let wanted = wanted()?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in found(&folder)?.keys().filter(|name| !wanted.contains_key(*name)) {
        let path = folder.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    for (name, text) in wanted {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/crds")
}

fn wanted() -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for (name, crd) in api::crds::all() {
        let text = serde_saphyr::to_string(&crd).with_context(|| format!("{name} is not YAML"))?;
        files.insert(
            name,
            format!("# Written by `cargo xtask crds` from controlplane/api; not edited by hand.\n{text}"),
        );
    }
    Ok(files)
}

fn found(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(name, text);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crds_in_the_chart_are_those_of_the_types() {
        check().expect("`cargo xtask crds` brings them up to date");
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for (name, crd) in api::crds::all() {
            let text = serde_saphyr::to_string(&crd).expect("a CRD is YAML");
            let again: serde_json::Value = serde_saphyr::from_str(&text).expect("what was written is YAML");
            assert_eq!(again, crd, "{name}");
        }
    }
}
