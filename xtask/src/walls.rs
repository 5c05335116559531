//! The walls of the house: who may depend on whom, and what never ships.
//!
//! "Must not know" means no direct dependency. `docs/architecture.md` draws the same picture for people.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::command::{cargo, output, root};

/// For each crate of ours, the crates of ours on which it may stand. A crate that is missing here fails.
const FLOORS: &[(&str, &[&str])] = &[
    ("mesh", &[]),
    ("runtime", &[]),
    ("proto", &[]),
    ("wire", &["mesh", "proto", "runtime"]),
    ("transport", &["mesh", "runtime"]),
    ("expr", &["mesh"]),
    ("identity", &["mesh", "proto", "wire", "transport", "runtime"]),
    ("authority", &["mesh", "proto", "wire", "transport", "runtime"]),
    ("exchange", &["mesh", "runtime"]),
    ("route", &["mesh"]),
    ("filters", &["mesh", "exchange", "runtime"]),
    ("mcp", &["mesh", "exchange", "runtime"]),
    ("a2a", &["mesh", "exchange", "runtime"]),
    ("llm", &["mesh", "exchange", "runtime"]),
    ("guards", &["mesh", "exchange", "runtime"]),
    ("users", &["mesh", "exchange", "runtime"]),
    ("api", &["mesh"]),
    ("translate", &["mesh", "api"]),
    ("ztunnel", &["mesh", "proto", "wire", "transport", "runtime", "identity"]),
    (
        "waypoint",
        &[
            "mesh",
            "proto",
            "wire",
            "transport",
            "runtime",
            "identity",
            "expr",
            "exchange",
            "route",
            "filters",
            "mcp",
            "a2a",
            "llm",
            "guards",
            "users",
        ],
    ),
    (
        "controlplane",
        &[
            "mesh",
            "proto",
            "wire",
            "transport",
            "runtime",
            "expr",
            "identity",
            "authority",
            "api",
            "translate",
        ],
    ),
    ("rig-network", &[]),
    ("podlet", &["spdy"]),
    ("rig", &["rig-network", "rig-programs"]),
    ("rig-programs", &[]),
    ("spdy", &[]),
    ("xtask", &["api"]),
];

/// Programs and tests that may stand on everything.
const TOP: &[&str] = &["strait", "multicluster-tests"];

/// What a crate must not know, by direct dependency.
const UNKNOWN: &[(&str, &[&str])] = &[
    ("mesh", &["tokio", "kube", "prost", "cel", "rand", "jiff"]),
    ("wire", &["kube", "socket2", "hyper", "rustls"]),
    ("transport", &["prost", "tonic", "kube", "cel"]),
    ("ztunnel", &["kube", "cel", "hyper", "h2", "rustls"]),
    ("waypoint", &["kube", "k8s-openapi", "h2", "rustls"]),
    ("exchange", &["hyper", "h2", "rustls", "kube", "cel"]),
    ("route", &["tokio", "hyper"]),
    ("filters", &["hyper", "h2", "kube", "cel"]),
    ("mcp", &["hyper", "h2", "kube", "cel"]),
    ("a2a", &["hyper", "h2", "kube", "cel"]),
    ("llm", &["hyper", "h2", "kube", "cel"]),
    ("guards", &["hyper", "h2", "kube", "cel"]),
    ("users", &["hyper", "h2", "kube", "cel"]),
    ("translate", &["tokio", "tonic", "prost"]),
];

/// What no shipped binary may contain.
const NEVER_SHIPPED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls"];

/// Words that only one crate may write, with that crate's folder.
const WORDS: &[(&str, &str)] = &[("tokio::net", "transport/")];

pub(crate) fn run() -> anyhow::Result<()> {
    eprintln!("==> walls");
    let mut faults = Vec::new();
    dependencies(&mut faults)?;
    words(&root(), &mut faults)?;
    for name in NEVER_SHIPPED {
        // cargo tree fails for a package that is nowhere in the graph, which is what we want.
        let tree = cargo(&["tree", "--locked", "-p", "strait", "-e", "normal,build", "-i", name]).output()?;
        if tree.status.success() && !tree.stdout.is_empty() {
            faults
                .push(format!("{name} is in the shipped binary:\n{}", String::from_utf8_lossy(&tree.stdout)));
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("the walls have holes:\n  {}", faults.join("\n  "))
}

fn dependencies(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let floors: BTreeMap<_, _> = FLOORS.iter().copied().collect();
    let unknown: BTreeMap<_, _> = UNKNOWN.iter().copied().collect();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let declared = package["dependencies"].as_array().context("a package has no dependencies")?;
        let uses = declared.iter().filter(|one| one["kind"].is_null()).filter_map(|one| one["name"].as_str());
        for used in uses {
            if ours.contains(&used) && !TOP.contains(&name) {
                let Some(allowed) = floors.get(name) else {
                    faults.push(format!("{name} has no floor: add it to xtask/src/walls.rs"));
                    break;
                };
                if !allowed.contains(&used) {
                    faults.push(format!("{name} must not stand on {used}"));
                }
            }
            if unknown.get(name).is_some_and(|never| never.contains(&used)) {
                faults.push(format!("{name} must not know {used}"));
            }
        }
    }
    Ok(())
}

fn words(folder: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let listed = output(std::process::Command::new("git").current_dir(folder).args(["ls-files", "*.rs"]))?;
    for file in listed.lines() {
        if file.starts_with("xtask/") || file.contains("/tests/") || file.starts_with("multicluster-tests/") {
            continue;
        }
        let Ok(text) = fs::read_to_string(folder.join(file)) else { continue };
        for (word, home) in WORDS {
            if !file.starts_with(home) && text.contains(word) {
                faults.push(format!("{file} writes {word}, which only {home} may"));
            }
        }
    }
    Ok(())
}
