//! The way in: a client outside the mesh comes over HTTPS, as a person with a token, through a Gateway of `strait up`.
//!
//! Certificate, key set and tokens are made by `programs/ingress/make.py`; `cargo xtask test` installs what it needs and
//! says so by `STRAIT_REAL_PROGRAMS`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::ensure;
use multicluster_tests::{
    strait::{Running, strait},
    up::{Answer, Up, curl, until},
};

/// The name on the certificate, and the port that is bound for the listener of port 443.
const HOST: &str = "agents.example.com";
const PORT: u16 = 8443;
const OFFSET: &str = "8000";
/// The applications behind the edge.
const APPLICATIONS: [&str; 3] = ["planner-v1", "planner-v2", "intern"];
/// Requests by which a split of 90 to 10 is seen.
const REQUESTS: u32 = 150;

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/ingress").join(name)
}

fn python() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/strait-tests");
    std::env::var_os("STRAIT_TEST_CACHE").map_or_else(home, PathBuf::from).join("venv/bin/python")
}

struct Edge {
    up: Up,
    made: tempfile::TempDir,
    /// They end with it.
    _applications: Vec<Running>,
}

impl Edge {
    fn start() -> Self {
        let made = tempfile::tempdir().expect("a folder");
        let run = Command::new(python()).arg(program("make.py")).arg(made.path()).status();
        assert!(run.expect("it is installed").success(), "it makes a certificate and tokens");
        let read = |name: &str| fs::read_to_string(made.path().join(name)).expect("it was made");
        // Below a key of a block scalar.
        let block = |name: &str| read(name).trim().replace('\n', "\n    ");
        let mesh = fs::read_to_string(program("mesh.yaml")).expect("it is there");
        let mesh = mesh
            .replace("    CERTIFICATE", &format!("    {}", block("tls.crt")))
            .replace("    KEY", &format!("    {}", block("tls.key")))
            .replace("JWKS", &read("jwks"));
        let up = Up::start_with("ingress", &[("mesh.yaml", &mesh)], &["--edge-port-offset", OFFSET]);
        let up = up.expect("strait up starts");
        let applications = APPLICATIONS.iter().map(|name| {
            let socket = format!("unix:{}", up.folder().join(format!("{name}.sock")).display());
            let mut command = strait(&["run", "app", "web", "--name", name, "--listen", &socket]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            Running::start(&mut command).expect("it starts")
        });
        let applications = applications.collect();
        Self { up, made, _applications: applications }
    }

    /// What somebody gets from outside; `person` names a token.
    fn get(&self, path: &str, person: Option<&str>) -> anyhow::Result<Answer> {
        let at = format!("{HOST}:{PORT}:{}", self.up.ip(2, 9));
        let root = self.made.path().join("tls.crt").display().to_string();
        let url = format!("https://{HOST}:{PORT}{path}");
        let mut arguments = vec!["--cacert", &root, "--resolve", &at];
        let bearer = match person {
            Some(person) => {
                let token = fs::read_to_string(self.made.path().join(format!("{person}.jwt")))?;
                format!("authorization: Bearer {token}")
            }
            None => "x-nobody: 1".to_owned(),
        };
        arguments.extend(["--header", &bearer, &url]);
        curl(&arguments)
    }

    #[track_caller]
    fn expect(&self, path: &str, person: Option<&str>, status: u16, text: &str) {
        let answer = self.get(path, person).expect("curl runs");
        let said = format!("{}{}", answer.heads, answer.text());
        assert!(answer.status == status && said.contains(text), "{path} {person:?}: {answer:?}\n{said}");
    }
}

#[test]
fn a_person_comes_in_over_https_to_planner_and_to_no_other_agent() {
    if std::env::var_os("STRAIT_REAL_PROGRAMS").is_none() {
        eprintln!("skipped: the real programs are not installed (multicluster-tests/conformance/install)");
        return;
    }
    let edge = Edge::start();
    until("the edge serves", || {
        let answer = edge.get("/planner", Some("ann"))?;
        ensure!(answer.status == 200, "{answer:?}\n{}", edge.up.log());
        Ok(())
    });
    // The application sees the gateway's node, and never the person's token.
    edge.expect("/planner", Some("ann"), 200, "\"app\":\"planner-v");
    edge.expect("/planner", None, 401, "www-authenticate: Bearer");
    for wrong in ["old", "audience", "issuer", "forged"] {
        edge.expect("/planner", Some(wrong), 401, "UserInvalid");
    }
    edge.expect("/planner", Some("bob"), 403, "NoGrant");
    edge.expect("/intern", Some("ann"), 403, "NoGrant");
    edge.expect("/elsewhere", Some("ann"), 404, "NoRoute");
    let mut split = BTreeMap::new();
    for _ in 0..REQUESTS {
        let text = edge.get("/planner", Some("ann")).expect("curl runs").text();
        let version = APPLICATIONS.iter().find(|name| text.contains(&format!("\"app\":\"{name}\"")));
        *split.entry(*version.expect("it says who it is")).or_insert(0_u32) += 1;
    }
    // One in ten: by chance none, or more than 40, come less than once in five million runs.
    let second = split.get("planner-v2").copied().unwrap_or_default();
    assert!((1..=40).contains(&second), "{split:?}");
}
