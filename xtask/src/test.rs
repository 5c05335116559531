//! `cargo xtask test`: the tests by tier, and which tiers this machine could not run.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::ValueEnum;

use crate::{
    command::{cargo, root, step},
    rig,
};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these tiers (default: all).
    #[arg(long = "tier", value_enum)]
    tiers: Vec<Tier>,
    /// A tier that cannot run is a failure.
    #[arg(long)]
    require: bool,
}

/// The tiers, least powerful first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Tables, pairs and properties inside each crate.
    Unit,
    /// Whole meshes: many programs in one process, and the built programs on loopback, also with real
    /// programs and suites from Debian, PyPI and npm.
    Process,
    /// Real Kubernetes clusters in network namespaces: the rig and what runs on it.
    Rig,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let wanted = |tier: Tier| options.tiers.is_empty() || options.tiers.contains(&tier);
    let mut skipped = Vec::new();
    if wanted(Tier::Unit) {
        step(
            "unit tests",
            &mut cargo(&[
                "test",
                "--workspace",
                "--exclude",
                "multicluster-tests",
                "--locked",
                "--no-fail-fast",
            ]),
        )?;
    }
    if wanted(Tier::Process) {
        process(&mut skipped)?;
    }
    if wanted(Tier::Rig) {
        rig(&mut skipped)?;
    }
    for reason in &skipped {
        eprintln!("skipped: {reason}");
    }
    if options.require && !skipped.is_empty() {
        bail!("{} could not run, and --require was given", skipped.len());
    }
    Ok(())
}

fn process(skipped: &mut Vec<String>) -> anyhow::Result<()> {
    step("build strait", &mut cargo(&["build", "--release", "-p", "strait", "--locked"]))?;
    let mut tests = cargo(&["test", "-p", "multicluster-tests", "--locked", "--no-fail-fast"]);
    tests.env("STRAIT_BIN", release_binary());
    match real_programs() {
        Ok(()) => tests.env("STRAIT_REAL_PROGRAMS", "1"),
        Err(reason) => {
            skipped.push(format!("process tests with real programs: {reason}"));
            &mut tests
        }
    };
    step("process tests", &mut tests)
}

/// The scenarios over real clusters. Their programs are built once per machine, by Go, in some twelve minutes.
fn rig(skipped: &mut Vec<String>) -> anyhow::Result<()> {
    if let Err(reason) = rig::prepared() {
        skipped.push(format!("tests over real clusters: {reason}"));
        return Ok(());
    }
    step("build the rig", &mut rig::build())?;
    step("programs of the rig", &mut cargo(&["run", "-q", "-p", "rig-programs", "--locked"]))?;
    let mut tests = cargo(&["test", "-p", "rig", "--locked", "--no-fail-fast", "--tests"]);
    tests.env("STRAIT_RIG", "1").env("STRAIT_RIG_BIN", rig::folder());
    let tested = step("tests over real clusters", &mut tests);
    // What the tests shared goes now, not when its guard has waited.
    step(
        "take the shared clusters down",
        std::process::Command::new(rig::program()).args(["--id", "tests", "down"]),
    )?;
    tested
}

/// Where cargo puts the release binary.
fn release_binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("release/strait")
}

/// Installs what the real programs need, into a cache outside the repository.
fn real_programs() -> Result<(), String> {
    for tool in ["python3", "node", "npm", "nginx", "curl"] {
        if !on_path(tool) {
            return Err(format!(
                "{tool} is not installed; on Debian: apt-get install python3-venv nodejs npm nginx curl"
            ));
        }
    }
    let script = root().join("multicluster-tests/conformance/install");
    step("install real programs", &mut std::process::Command::new(&script)).map_err(|error| error.to_string())
}

/// Whether a tool is there, also where Debian keeps servers out of the path of users.
pub(crate) fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(beside).any(|dir| is_file(&dir.join(tool)))
}

fn is_file(path: &Path) -> bool {
    path.is_file()
}
