//! `strait up` as a user runs it: a folder of YAML, a state directory, a log, and what one does with them.
//!
//! Each run has addresses and folders of its own, so that tests do not meet. [`curl()`] and [`connect`] speak through
//! explicit proxies as applications do; [`Echo`] is an application that is reached.

mod curl;
mod echo;
mod explicit;

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;

pub use curl::{Answer, curl};
pub use echo::Echo;
pub use explicit::{Proxy, Tunnelled, connect};

use crate::{
    mesh::{Number, PATIENCE},
    strait::{Running, strait},
};

/// The port of explicit proxies.
const EXPLICIT_PORT: u16 = 15080;
/// How often it is looked at what must become true.
const EVERY: Duration = Duration::from_millis(10);

/// A running `strait up`.
#[derive(Debug)]
pub struct Up {
    /// Dropped first: it writes into the folder.
    running: Running,
    folder: TempDir,
    number: Number,
}

/// What a command of `strait` said.
#[derive(Debug)]
pub struct Said {
    /// The exit status.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub errors: String,
}

impl Said {
    /// What it printed, as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("{self:?}"))
    }
}

impl Up {
    /// Starts a cluster from files; in them `127.N.` stands for its own prefix and `FOLDER` for its folder.
    /// Waits until every workload's explicit proxy accepts.
    ///
    /// # Panics
    /// When it is not up in time.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_with(name, files, &[])
    }

    /// As [`Up::start`], with further flags.
    ///
    /// # Panics
    /// When it is not up in time.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(name: &str, files: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<Self> {
        let number = Number::take()?;
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("files"))?;
        for (file, text) in files {
            fs::write(folder.path().join("files").join(file), spell(text, &number, folder.path()))?;
        }
        let ranges = format!("127.{}.0.0/16", number.get());
        let trust_domain = format!("{name}.test");
        let mut command = strait(&["up", "--ranges", &ranges, "--cluster", name]);
        command.args(["--trust-domain", &trust_domain]).args(flags);
        command
            .arg("--file")
            .arg(folder.path().join("files"))
            .arg("--state")
            .arg(folder.path().join("state"));
        let log = fs::File::create(folder.path().join("up.log"))?;
        command.stderr(log.try_clone()?).stdout(log);
        let running = Running::start(&mut command)?;
        let up = Self { running, folder, number };
        until(&format!("{name} is up"), || up.reachable());
        Ok(up)
    }

    /// Whether every workload's explicit proxy accepts, and every proxy has all that it needs.
    fn reachable(&self) -> anyhow::Result<()> {
        let workloads = self.get("workloads").with_context(|| self.log())?;
        for row in rows(&workloads).filter(|row| row["node"].as_str().is_some_and(|node| !node.is_empty())) {
            let proxy = proxy_of(row)?;
            TcpStream::connect(proxy).with_context(|| format!("no proxy at {proxy}:\n{}", self.log()))?;
        }
        let proxies = self.get("proxies")?;
        for row in rows(&proxies) {
            ensure!(row["current"] == true, "{row} is behind");
        }
        Ok(())
    }

    /// Its state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder that holds everything of this run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An address of it, 127.N.`third`.`fourth`.
    pub fn ip(&self, third: u8, fourth: u8) -> IpAddr {
        self.number.ip(third, fourth)
    }

    /// A socket address of it.
    pub fn at(&self, third: u8, fourth: u8, port: u16) -> SocketAddr {
        self.number.at(third, fourth, port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When nobody can say.
    pub fn alive(&mut self) -> anyhow::Result<bool> {
        Ok(self.running.0.try_wait()?.is_none())
    }

    /// Writes a file of YAML whole, as an editor does.
    ///
    /// # Errors
    /// When it cannot.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let beside = self.folder.path().join(format!("{name}.new"));
        fs::write(&beside, spell(text, &self.number, self.folder.path()))?;
        Ok(fs::rename(beside, self.folder.path().join("files").join(name))?)
    }

    /// Removes a file of YAML.
    ///
    /// # Errors
    /// When it cannot.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.folder.path().join("files").join(name))?)
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("up.log")).unwrap_or_default()
    }

    /// Runs a command of `strait` on its state.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn strait(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        let output = strait(arguments).arg("--state").arg(self.state()).output()?;
        Ok(Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// What `strait get` lists.
    ///
    /// # Errors
    /// When it does not.
    pub fn get(&self, what: &str) -> anyhow::Result<Value> {
        let said = self.strait(&["get", what, "--output", "json"])?;
        ensure!(said.code == Some(0), "{said:?}");
        said.json()
    }

    /// What `strait check` says once everything is healthy: what was just done is told a moment later.
    ///
    /// # Panics
    /// When it never is.
    #[track_caller]
    pub fn healthy(&self) -> Said {
        until("everything is healthy", || {
            let said = self.strait(&["check"])?;
            ensure!(said.code == Some(0), "{said:?}");
            Ok(said)
        })
    }

    /// The findings of `strait check`.
    ///
    /// # Errors
    /// When it does not run.
    pub fn check(&self) -> anyhow::Result<Vec<Value>> {
        let found = self.strait(&["check", "--output", "json"])?.json()?;
        Ok(rows(&found).cloned().collect())
    }

    /// How `strait explain` explains a refusal, once its proxy has told of it: before, the id alone says less.
    ///
    /// # Panics
    /// When the record does not come.
    #[track_caller]
    pub fn explained(&self, id: &str) -> Value {
        until(&format!("the record of {id} has come"), || {
            let said = self.strait(&["explain", id, "--output", "json"])?;
            ensure!(said.code == Some(0), "{said:?}");
            let explained = said.json()?;
            ensure!(explained["caller"].is_string(), "{explained}");
            Ok(explained)
        })
    }

    /// The explicit proxy of a workload, with its token.
    ///
    /// # Errors
    /// When there is none.
    pub fn proxy(&self, namespace: &str, name: &str) -> anyhow::Result<Proxy> {
        let file = self.state().join(format!("tokens/workload-{namespace}-{name}"));
        let token = fs::read_to_string(&file).with_context(|| format!("no {}", file.display()))?;
        let workloads = self.get("workloads")?;
        let row = rows(&workloads)
            .find(|row| row["namespace"] == namespace && row["name"] == name)
            .with_context(|| format!("no workload {namespace}/{name} in {workloads}"))?;
        Ok(Proxy { address: proxy_of(row)?, token: token.trim().to_owned() })
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn memory_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse()?)
    }
}

/// Puts a run's own addresses and folder into YAML.
fn spell(text: &str, number: &Number, folder: &Path) -> String {
    let prefix = format!("127.{}.", number.get());
    text.replace("127.N.", &prefix).replace("FOLDER", &folder.display().to_string())
}

fn proxy_of(row: &Value) -> anyhow::Result<SocketAddr> {
    let address = &row["addresses"];
    let text =
        address.as_str().or_else(|| address[0].as_str()).with_context(|| format!("no address: {row}"))?;
    Ok(SocketAddr::new(text.parse()?, EXPLICIT_PORT))
}

/// The rows of a list.
pub fn rows(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Waits until something can be had.
///
/// # Panics
/// When it cannot within [`PATIENCE`], with the last reason.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if start.elapsed() > PATIENCE => panic!("waited {PATIENCE:?} in vain: {what}: {why:#}"),
            Err(_) => thread::sleep(EVERY),
        }
    }
}
