//! Real A2A programs through the mesh: clients and agents on a2a-sdk, in both versions and bindings.
//!
//! They come from PyPI; `cargo xtask test` installs them (`conformance/install`) and says so by
//! `STRAIT_REAL_PROGRAMS`.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use multicluster_tests::{
    strait::Running,
    up::{Up, until},
};

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(program(name)).expect("it is there")
}

fn python() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/strait-tests");
    std::env::var_os("STRAIT_TEST_CACHE").map_or_else(home, PathBuf::from).join("venv/bin/python")
}

/// The cluster of `programs/agents`, with an agent at each socket.
struct Agents {
    up: Up,
    /// They end with it.
    programs: Vec<Running>,
}

const URL: &str = "http://researcher.agents.svc.cluster.local";
const HELPER: &str = "http://helper.agents.mesh";

impl Agents {
    fn start() -> Self {
        let files = ["mesh.yaml", "route.yaml"].map(|name| (name, text(&format!("agents/{name}"))));
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let mut agents =
            Self { up: Up::start("agents", &files).expect("strait up starts"), programs: Vec::new() };
        for name in ["one", "two"] {
            let socket = agents.up.folder().join(format!("{name}.sock"));
            let log = fs::File::create(agents.up.folder().join(format!("{name}.out"))).expect("a log");
            let mut command = Command::new(python());
            command.arg(program("a2a_server.py")).arg(&socket).arg(name);
            command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
            agents.programs.push(Running::start(&mut command).expect("it is installed"));
            until(&format!("{name} listens"), || UnixStream::connect(&socket).context("not yet"));
        }
        agents
    }

    /// Runs a client as this workload, to its end.
    fn client(&self, workload: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let proxy = self.up.proxy("agents", workload)?.url("http");
        let mut command = Command::new(python());
        command
            .arg(program("a2a_client.py"))
            .args(arguments)
            .env("http_proxy", &proxy)
            .env_remove("no_proxy");
        let output = command.stdin(Stdio::null()).output()?;
        let (out, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{workload} {arguments:?}: {out}\n{errors}\n{}", self.up.log());
        Ok(())
    }
}

#[test]
fn agents_and_their_callers_speak_both_versions_by_both_bindings() {
    if std::env::var_os("STRAIT_REAL_PROGRAMS").is_none() {
        eprintln!("skipped: the real programs are not installed (multicluster-tests/conformance/install)");
        return;
    }
    let agents = Agents::start();
    let kept = agents.up.folder().join("kept");
    let kept = kept.to_str().expect("a path of text");
    // By a route of a Service, and by the name of an AgentBackend.
    for (url, kept) in [(URL, kept), (HELPER, &format!("{kept}-by-helper"))] {
        agents.client("planner", &["granted", url, kept]).expect("it is granted");
        agents.client("writer", &["other", url, kept]).expect("it has no task of the other's");
        agents.client("intern", &["limited", url]).expect("it has what it is granted and no more");
        agents.client("stranger", &["refused", url]).expect("it is refused");
    }
    // New conversations go elsewhere; those that were begun stay where they are led to at all.
    let moved = text("agents/route.yaml")
        .replace("weight: 1000000", "weight: 1")
        .replace("weight: 0", "weight: 1000000");
    fs::write(agents.up.folder().join("files/route.yaml"), moved).expect("a file");
    until("the route is moved", || agents.client("planner", &["stays", URL, kept]));
}
