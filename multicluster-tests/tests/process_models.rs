//! Real clients of models through the mesh: openai and anthropic, each to providers of both APIs, and a budget that a
//! thousand requests at once do not exceed.
//!
//! The clients come from PyPI; `cargo xtask test` installs them (`conformance/install`) and says so by
//! `STRAIT_REAL_PROGRAMS`. The providers are mocks of ours (`programs/models/server.py`).

use std::{
    fs,
    io::Read as _,
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use multicluster_tests::{
    strait::Running,
    up::{Up, curl, until},
};

/// The providers, and their keys in `programs/models/mesh.yaml`.
const PROVIDERS: [(&str, &str); 3] = [
    ("primary", "canary-of-primary-5d1c"),
    ("second", "canary-of-second-9a0e"),
    ("claude", "canary-of-claude-77b2"),
];
/// What the clients show as a key of their own.
const INBOUND: &str = "canary-of-caller-31f8";
/// The limit of the quota `budget`.
const BUDGET: u64 = 20_000;
/// The last byte of the control plane's address for administrators.
const CONTROL_PLANE: u8 = 1;
/// The same of the proxies: two nodes and a waypoint.
const PROXIES: [u8; 3] = [11, 12, 13];
/// Where the control plane keeps objects, and a proxy what is secret. Nobody else may read them.
const SECRET_STORES: [&str; 2] = ["accepted/objects", "proxies/gateway-shop-waypoint/resources.secrets"];

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/models").join(name)
}

fn python() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/strait-tests");
    std::env::var_os("STRAIT_TEST_CACHE").map_or_else(home, PathBuf::from).join("venv/bin/python")
}

/// The cluster of `programs/models`, with a mock at each socket.
struct Models {
    up: Up,
    /// They end with it.
    providers: Vec<Running>,
}

impl Models {
    fn start() -> Self {
        let mesh = fs::read_to_string(program("mesh.yaml")).expect("it is there");
        let up = Up::start("models", &[("mesh.yaml", &mesh)]).expect("strait up starts");
        let mut models = Self { up, providers: Vec::new() };
        for (name, key) in PROVIDERS {
            let folder = models.up.folder();
            let socket = folder.join(format!("{name}.sock"));
            let log = fs::File::create(folder.join(format!("{name}.out"))).expect("a log");
            let mut command = Command::new(python());
            command.arg(program("server.py")).arg(&socket).args([name, key]).arg(folder);
            command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
            models.providers.push(Running::start(&mut command).expect("it is installed"));
            until(&format!("{name} listens"), || UnixStream::connect(&socket).context("not yet"));
        }
        models
    }

    /// Runs a scenario of the clients as this workload, to its end.
    fn client(&self, workload: &str, scenario: &str) -> anyhow::Result<()> {
        let proxy = self.up.proxy("shop", workload)?.url("http");
        let mut command = Command::new(python());
        command.arg(program("client.py")).arg(scenario).env("http_proxy", &proxy).env_remove("no_proxy");
        let output = command.stdin(Stdio::null()).output()?;
        let (out, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{workload} {scenario}: {out}\n{errors}\n{}", self.up.log());
        Ok(())
    }

    /// What the providers took for these models, by their own books.
    fn books(&self, models: &[&str]) -> u64 {
        let lines = |name: &str| {
            fs::read_to_string(self.up.folder().join(format!("{name}.books"))).expect("it keeps books")
        };
        let tokens = |line: &str| {
            let entry: serde_json::Value = serde_json::from_str(line).expect("it writes JSON");
            let of = |field: &str| entry[field].as_u64().expect("it counts");
            let ours = entry["model"].as_str().is_some_and(|model| models.contains(&model));
            if ours { of("prompt") + of("output") } else { 0 }
        };
        PROVIDERS.iter().map(|(name, _)| lines(name).lines().map(tokens).sum::<u64>()).sum()
    }

    /// A page of a program of this cluster.
    fn page(&self, of: u8, port: u16, path: &str) -> anyhow::Result<String> {
        let token = fs::read_to_string(self.up.state().join("admin-token"))?;
        let bearer = format!("authorization: Bearer {}", token.trim());
        let answer = curl(&["--header", &bearer, &format!("http://{}{path}", self.up.at(0, of, port))])?;
        ensure!(answer.exit == Some(0), "{path} of {of}: {answer:?}");
        Ok(answer.text())
    }

    /// What all waypoints counted for a quota.
    fn counted(&self, quota: &str, what: &str) -> anyhow::Result<u64> {
        let (quota, what) = (format!("quota=\"QuotaPolicy/shop/{quota}\""), format!("what=\"{what}\""));
        let mut sum = 0;
        for of in PROXIES {
            let page = self.page(of, 15020, "/metrics")?;
            let ours = page.lines().filter(|line| line.starts_with("strait_quota_total"));
            for line in ours.filter(|line| line.contains(&quota) && line.contains(&what)) {
                sum += line.rsplit(' ').next().context("no value")?.parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// Looks for keys in everything that is logged, shown or kept.
    fn look_for_keys(&self) -> anyhow::Result<()> {
        let mut forms = vec![INBOUND.as_bytes().to_vec()];
        for (_, key) in PROVIDERS {
            let encoded = base64::engine::general_purpose::STANDARD.encode(key);
            forms.extend([key.as_bytes().to_vec(), encoded.into_bytes()]);
        }
        let holds = |bytes: &[u8]| {
            forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_slice()))
        };
        let mut pages = 0;
        for of in [CONTROL_PLANE].iter().chain(&PROXIES) {
            let index = self.page(*of, 15000, "/")?;
            let listed = index.lines().filter_map(|line| line.strip_prefix("GET ")?.split(' ').next());
            for path in listed.chain(["/config_dump", "/v1/resources?kind=Secret"]) {
                ensure!(!holds(self.page(*of, 15000, path)?.as_bytes()), "{path} of {of} shows a key");
                pages += 1;
            }
            ensure!(!holds(self.page(*of, 15020, "/metrics")?.as_bytes()), "metrics of {of} show a key");
        }
        ensure!(pages > 20, "{pages} pages are not all of them");
        ensure!(!holds(self.up.log().as_bytes()), "the log holds a key");
        let state = self.up.state();
        for file in files(&state)? {
            let mut bytes = Vec::new();
            fs::File::open(&file)?.read_to_end(&mut bytes)?;
            let name = file.strip_prefix(&state)?.to_str().context("a name of text")?;
            if holds(&bytes) {
                ensure!(SECRET_STORES.contains(&name), "{name} holds a key");
                let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
                ensure!(mode == 0o600, "{name} may be read by others: {mode:o}");
            }
        }
        for (name, own) in PROVIDERS {
            let heads = fs::read_to_string(self.up.folder().join(format!("{name}.heads")))?;
            ensure!(heads.contains(own), "{name} was never shown its key");
            let others = PROVIDERS.iter().filter(|(other, _)| *other != name).map(|(_, key)| *key);
            for key in others.chain([INBOUND]) {
                ensure!(!heads.contains(key), "{name} was shown {key}");
            }
        }
        Ok(())
    }
}

/// All files below a folder.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => found.extend(files(&entry.path())?),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    Ok(found)
}

#[test]
fn clients_of_models_get_what_is_granted_and_no_more_than_their_budget() {
    if std::env::var_os("STRAIT_REAL_PROGRAMS").is_none() {
        eprintln!("skipped: the real programs are not installed (multicluster-tests/conformance/install)");
        return;
    }
    let models = Models::start();
    until("the backends are served", || models.client("stranger", "refused"));
    models.client("planner", "clients").expect("it sees what it is granted, in both APIs");
    // Nothing was cut or failed, so both keep the same books.
    until("the books agree", || {
        let theirs = models.books(&["mock-small", "mock-embed", "mock-claude"]);
        let ours = models.counted("counted", "settled")?;
        ensure!(theirs > 0 && ours == theirs, "{ours} tokens are settled, {theirs} were used");
        Ok(())
    });

    let down = models.up.folder().join("primary.down");
    fs::write(&down, "").expect("a file");
    models.client("planner", "failover").expect("the second group answers");
    fs::remove_file(&down).expect("it was there");

    models.client("planner", "budget").expect("each is answered or over the limit");
    let (used, settled) = (models.books(&["mock-budget"]), models.counted("budget", "settled"));
    let settled = settled.expect("it is counted");
    assert!(used > 0 && used <= settled, "{used} tokens were used, {settled} are settled");
    assert!(settled <= BUDGET, "{settled} tokens of {BUDGET} are settled");
    assert_eq!(models.counted("budget", "beyond").expect("it is counted"), 0);

    models.look_for_keys().expect("keys stay where they are kept");
}
