//! Starts programs that outlive the command that started them, remembers them by pid and start time, ends them.
//!
//! A pid alone is not a name: the machine gives it again. So a record holds the start time the kernel knows, and
//! nothing is ever signalled whose start time differs.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Seek, SeekFrom},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::state::write_whole;

/// How long a killed process may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is looked for.
const GONE_PERIOD: Duration = Duration::from_millis(5);
/// How much of a log is read for its last lines, in bytes.
const TAIL_BYTES_MAX: u64 = 64 * 1024;

/// A process as the kernel tells it apart from any other since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its pid.
    pub pid: i32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

/// What to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    /// Its name in the rig, as `c1-apiserver`.
    pub name: String,
    /// The network namespace in which it runs; none for the machine's own.
    pub namespace: Option<String>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to its environment.
    pub environment: BTreeMap<String, String>,
}

/// A program that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Which process it is.
    pub identity: Identity,
    /// How it was started.
    pub launch: Launch,
}

/// The processes of one rig: their records and their logs.
#[derive(Clone, Debug)]
pub(crate) struct Processes {
    pids: PathBuf,
    logs: PathBuf,
}

impl Identity {
    /// This process.
    pub(crate) fn own() -> anyhow::Result<Self> {
        let pid = i32::try_from(std::process::id()).context("a pid is above 2^31")?;
        Self::of(pid).context("/proc does not show this process")
    }

    /// The process that has the pid now; none if it is gone or a corpse.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and may hold anything; the fields after it are plain: state first.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        (state != "Z" && state != "X").then_some(Self { pid, start })
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal, to this process and to none that came after it.
    pub(crate) fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may end between the look and the kill; then there is nothing to do.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
        self.reap();
    }

    /// Takes the status of a child of ours, so that no corpse stays. Of another's child this asks in vain.
    fn reap(self) {
        let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
    }
}

impl Launch {
    /// A launch in a namespace.
    pub(crate) fn new(name: impl Into<String>, namespace: Option<&str>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.map(str::to_owned),
            program: program.into(),
            arguments: Vec::new(),
            environment: BTreeMap::new(),
        }
    }

    /// Adds arguments.
    pub(crate) fn arguments<I: IntoIterator<Item = S>, S: Into<String>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable.
    pub(crate) fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(&self.environment);
        if let Some(namespace) = &self.namespace {
            enter_on_start(&mut command, namespace)?;
        }
        Ok(command)
    }
}

/// Lets a command start inside a network namespace.
pub(crate) fn enter_on_start(command: &mut Command, namespace: &str) -> anyhow::Result<()> {
    let path = Path::new("/run/netns").join(namespace);
    let file = fs::File::open(&path)
        .with_context(|| format!("the network namespace {namespace} is not there; is the rig up?"))?;
    let enter = move || {
        let _kept_open = file.as_raw_fd();
        setns(&file, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)
    };
    // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(enter) };
    Ok(())
}

impl Processes {
    pub(crate) fn below(folder: &Path) -> Self {
        Self { pids: folder.join("pids"), logs: folder.join("logs") }
    }

    pub(crate) fn create(&self) -> anyhow::Result<()> {
        for folder in [&self.pids, &self.logs] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(())
    }

    /// The log of a process.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Starts a program in a session of its own, its output going to its log, and records it.
    pub(crate) fn start(&self, launch: &Launch) -> anyhow::Result<Process> {
        let path = self.log(&launch.name);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut command = launch.command()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let lead = || nix::unistd::setsid().map(|_| ()).map_err(std::io::Error::from);
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe { command.pre_exec(lead) };
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {} ({})", launch.name, launch.program.display()))?;
        let pid = i32::try_from(child.id()).context("a pid is above 2^31")?;
        let Some(identity) = Identity::of(pid) else {
            bail!("{} ended at once; the last it said:\n{}", launch.name, self.tail(&launch.name, 15));
        };
        let process = Process { identity, launch: launch.clone() };
        write_whole(&self.record(&launch.name), &serde_json::to_vec_pretty(&process)?)?;
        Ok(process)
    }

    /// The recorded processes, by name.
    pub(crate) fn list(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(&self.pids) else { return Vec::new() };
        let mut all: Vec<Process> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
            .filter_map(|entry| serde_json::from_slice(&fs::read(entry.path()).ok()?).ok())
            .collect();
        all.sort_by(|one, other| one.launch.name.cmp(&other.launch.name));
        all
    }

    /// One of them; the error names those there are.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<Process> {
        let all = self.list();
        if let Some(found) = all.iter().find(|process| process.launch.name == name) {
            return Ok(found.clone());
        }
        let names: Vec<&str> = all.iter().map(|process| process.launch.name.as_str()).collect();
        bail!("no program of this rig is named {name}; there are: {}", names.join(", "))
    }

    /// Ends processes at once and waits until they are gone.
    pub(crate) fn kill(&self, processes: &[Process]) -> anyhow::Result<()> {
        let identities: Vec<Identity> = processes.iter().map(|process| process.identity).collect();
        kill_all(&identities)
    }

    /// Starts a recorded process again; it must have ended.
    pub(crate) fn restart(&self, name: &str) -> anyhow::Result<Process> {
        let process = self.get(name)?;
        if process.identity.is_alive() {
            bail!("{name} still runs (pid {}); end it first: rig kill {name}", process.identity.pid);
        }
        self.start(&process.launch)
    }

    /// The last lines that a process wrote, as far as they are in the last 64 KiB of its log.
    pub(crate) fn tail(&self, name: &str, lines: usize) -> String {
        let Ok(mut file) = fs::File::open(self.log(name)) else { return "(it has no log)".to_owned() };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES_MAX)));
        let mut text = Vec::new();
        let _ = file.take(TAIL_BYTES_MAX).read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        if all.is_empty() {
            return "(it said nothing)".to_owned();
        }
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Fails when one of these has ended, with the last it said.
    pub(crate) fn check<'a>(&self, processes: impl IntoIterator<Item = &'a Process>) -> anyhow::Result<()> {
        for process in processes {
            if !process.identity.is_alive() {
                process.identity.reap();
                let name = &process.launch.name;
                bail!(
                    "{name} has ended; the last it said ({}):\n{}",
                    self.log(name).display(),
                    self.tail(name, 20)
                );
            }
        }
        Ok(())
    }

    fn record(&self, name: &str) -> PathBuf {
        self.pids.join(format!("{name}.json"))
    }
}

/// Ends processes at once and waits until they are gone.
pub(crate) fn kill_all(identities: &[Identity]) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let alive: Vec<Identity> = identities.iter().copied().filter(|one| one.is_alive()).collect();
        for one in &alive {
            one.signal(Signal::SIGKILL);
        }
        for one in identities {
            one.reap();
        }
        if alive.is_empty() {
            return Ok(());
        }
        if begin.elapsed() > GONE_TIMEOUT {
            bail!("these processes do not end, even by SIGKILL: {alive:?}");
        }
        std::thread::sleep(GONE_PERIOD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_program_is_recorded_and_ends_when_killed() {
        let folder = tempfile::tempdir().expect("a folder");
        let processes = Processes::below(folder.path());
        processes.create().expect("folders");
        let launch = Launch::new("sleeper", None, "/bin/sh").arguments(["-c", "echo said; exec sleep 100"]);
        let process = processes.start(&launch).expect("sh starts");
        assert!(process.identity.is_alive());
        assert_eq!(processes.get("sleeper").expect("recorded").identity, process.identity);
        processes.kill(&processes.list()).expect("it ends");
        assert!(!process.identity.is_alive());
        let error = processes.check([&process]).expect_err("it has ended");
        assert!(error.to_string().contains("sleeper has ended"), "{error}");
    }

    #[test]
    fn a_process_with_another_start_time_is_another_process() {
        let own = Identity::own().expect("we run");
        assert!(own.is_alive());
        assert!(!Identity { start: own.start + 1, ..own }.is_alive());
    }

    #[test]
    fn an_unknown_program_is_answered_with_the_known_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let processes = Processes::below(folder.path());
        processes.create().expect("folders");
        let process = processes.start(&Launch::new("one", None, "/bin/true")).ok();
        let error = processes.get("two").expect_err("there is no two").to_string();
        assert!(error.contains("no program of this rig is named two"), "{error}");
        if let Some(process) = process {
            kill_all(&[process.identity]).expect("it ends");
        }
    }
}
