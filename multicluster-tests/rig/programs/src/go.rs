//! Builds programs with the go command, in a module that the repository pins.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cache::{Job, ProgramError, create, write};
use crate::recipe::{Build, GO_VERSION};
use crate::watched::{self, spoken, tail};

/// From this version on, the go command fetches the version that a module asks for.
const OLDEST: (u32, u32) = (1, 21);
/// The folder of the module inside the folder of the set.
const MODULE: &str = "module";

/// Whether there is a go command that can build, or fetch the one that can.
pub(crate) fn check(what: &str) -> Result<(), ProgramError> {
    found().map_err(|found| ProgramError::NoGo { what: what.to_owned(), found })
}

/// Says what is there instead of a go command that suffices.
pub(crate) fn found() -> Result<(), String> {
    // What is installed is asked, not what a setting would have it fetch.
    let output = Command::new("go").args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output();
    let version = match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => return Err("there is no go command".to_owned()),
    };
    if suffices(&version) { Ok(()) } else { Err(format!("the go command is {version:?}, which is too old")) }
}

fn suffices(version: &str) -> bool {
    let mut numbers = version.trim_start_matches("go").split(['.', '-', 'r', 'b']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => version.starts_with("devel"),
    }
}

/// Writes the module and builds what is asked for, into the folder of the set.
pub(crate) fn build(
    job: &mut Job<'_>,
    files: &[(&str, &str)],
    builds: &[Build],
    linker_flags: &str,
) -> Result<(), ProgramError> {
    let module = job.staging.join(MODULE);
    create(&module)?;
    for (name, text) in files {
        write(&module.join(name), text)?;
    }
    for build in builds {
        let mut command = command(&module);
        command.args(if build.is_test { ["test", "-c"].as_slice() } else { ["build"].as_slice() });
        // Profiles that a module may bring for its program would have all below it compiled anew.
        command.args(["-v", "-mod=readonly", "-pgo=off", "-trimpath", "-ldflags", linker_flags, "-o"]);
        command.arg(job.staging.join(build.output)).arg(build.package);
        run(job, &mut command)?;
        for name in build.names {
            let (from, to) = (job.staging.join(build.output), job.staging.join(name));
            std::fs::hard_link(&from, &to).map_err(|cause| ProgramError::Cache {
                act: "link",
                path: to,
                cause,
            })?;
        }
    }
    Ok(())
}

/// Where the files of a module that the set requires are on this machine.
pub(crate) fn module_folder(job: &Job<'_>, module: &str) -> Result<String, ProgramError> {
    let output = command(&job.staging.join(MODULE)).args(["list", "-m", "-f", "{{.Dir}}", module]).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Err(failed(job, &String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(failed(job, &error.to_string())),
    }
}

/// The go command in a module, deaf to the settings of whoever calls.
fn command(module: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(module);
    command.env("GOTOOLCHAIN", format!("go{GO_VERSION}"));
    command.envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off"), ("GO111MODULE", "on")]);
    // Memory for time: 3.3 GB at the peak, a sixth faster.
    command.env("GOGC", "400");
    command
}

fn run(job: &mut Job<'_>, command: &mut Command) -> Result<(), ProgramError> {
    let (title, usual) = (&job.title, job.usual);
    let progress = &mut *job.progress;
    let mut tell = |elapsed: Duration, lines: usize| {
        progress(&format!(
            "{title}: {} so far, {lines} steps of fetching and compiling done (usually {usual})",
            spoken(elapsed)
        ));
    };
    match watched::run(command, job.log, &mut tell) {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(failed(job, &tail(job.log))),
        Err(error) => Err(failed(job, &error.to_string())),
    }
}

/// What the words of a failed command mean for whoever reads the error.
pub(crate) fn failed(job: &Job<'_>, said: &str) -> ProgramError {
    let (what, log, tail) = (job.title.clone(), job.log.to_owned(), said.to_owned());
    let says = |signs: &[&str]| signs.iter().any(|sign| said.contains(sign));
    if says(&["SECURITY ERROR", "checksum mismatch", "DO NOT MATCH THE HASHES"]) {
        ProgramError::WrongSum { what, log, tail }
    } else if says(&["no space left on device", "No space left on device"]) {
        ProgramError::NoRoom {
            what,
            of: "disk",
            need: "10 GB, mostly for Go's own caches (go env GOCACHE)",
            log,
        }
    } else if says(&["signal: killed", "cannot allocate memory"]) {
        ProgramError::NoRoom { what, of: "memory", need: "4 GB", log }
    } else if says(&NETWORK) {
        ProgramError::NoNetwork { what, log, tail }
    } else {
        ProgramError::Failed { what, log, tail }
    }
}

/// Words that Go and pip use when they reach nobody.
const NETWORK: [&str; 11] = [
    "dial tcp",
    "toolchain not available",
    "module lookup disabled",
    "no such host",
    "i/o timeout",
    "TLS handshake timeout",
    "proxyconnect",
    "connection reset by peer",
    "unexpected EOF",
    "Failed to establish a new connection",
    "Could not find a version that satisfies",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_that_can_fetch_another() {
        for (version, enough) in [
            ("go1.27.3", true),
            ("go1.21", true),
            ("go1.21rc2", true),
            ("go1.20.14", false),
            ("go1.19.8", false),
            ("go2.0", true),
            ("devel go1.28-abc", true),
            ("", false),
        ] {
            assert_eq!(suffices(version), enough, "{version:?}");
        }
    }

    #[track_caller]
    fn check_failure(said: &str, words: &str) {
        let job = Job {
            title: "CoreDNS".into(),
            usual: "70 seconds",
            staging: Path::new("/cache/.coredns.building"),
            log: Path::new("/cache/coredns.log"),
            progress: &mut |_| {},
        };
        let error = failed(&job, said).to_string();
        assert!(
            error.contains(words) && error.starts_with("CoreDNS") && error.contains("/cache/coredns.log"),
            "{error}"
        );
    }

    #[test]
    fn failures_are_told_apart_by_what_was_said() {
        check_failure("verifying x@v1: checksum mismatch\nSECURITY ERROR", "Do not trust that source");
        check_failure("dial tcp: lookup proxy.golang.org: no such host", "go env GOPROXY");
        check_failure("go: download go1.27.3 for linux/amd64: toolchain not available", "go env GOPROXY");
        check_failure("write x: no space left on device", "too little disk");
        check_failure("k8s.io/api: compile: signal: killed", "too little memory");
        check_failure("main.go:3: undefined: x", "could not be built");
    }
}
