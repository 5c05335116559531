//! The life of a shim, from the start of its container to its end.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{UnixListener, unix::pipe},
    signal::unix::{SignalKind, signal},
    sync::{broadcast, mpsc},
};

use super::{
    ATTACH_SOCKET,
    attach::{self, Input},
    console::ConsoleSocket,
    frame::Frame,
};
use crate::log::{Source as Stream, Writer};

/// Name of the file with the shim's orders in the container's folder.
pub const ORDERS: &str = "shim.json";
/// Name of the file with the end of the container.
pub const EXIT: &str = "exit.json";
/// Name of the file with the container's first process.
pub const PID: &str = "pid";
/// How long the last output may take once the container has ended: somebody else may hold its pipes.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// How many pieces of output may wait for those who are attached; who is slower is cut off.
const ATTACHED_BEHIND_MAX: usize = 256;
/// How many pieces of input may wait for the container.
const INPUT_WAITING_MAX: usize = 16;
/// How much is read at once.
const PIECE: usize = 16 * 1024;

/// What a shim is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The runc program.
    pub runc: PathBuf,
    /// Where runc keeps its state.
    pub runc_root: PathBuf,
    /// The container's name.
    pub id: String,
    /// Its log.
    pub log: PathBuf,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether it has an input.
    pub stdin: bool,
    /// Whether its input ends with the first who attaches.
    pub stdin_once: bool,
}

/// The end of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code; 128 and the signal's number if it was killed.
    pub code: i32,
    /// The signal, if it was killed.
    pub signal: Option<i32>,
    /// When.
    pub at: jiff::Timestamp,
}

/// The container's ends of its outputs and input.
struct Ends {
    outputs: Vec<(Stream, Output)>,
    input: Option<Input>,
}

enum Output {
    Pipe(pipe::Receiver),
    Terminal(tokio::fs::File),
}

/// Runs the container whose folder this is, to its end. Says `ok PID`, or what is wrong, as one line
/// on standard output as soon as it is known.
///
/// # Errors
/// When the container cannot be started, or its end cannot be written down.
pub async fn run(folder: &Path) -> anyhow::Result<()> {
    let orders: Orders = serde_json::from_slice(&fs::read(folder.join(ORDERS))?)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut children = signal(SignalKind::child())?;
    let (pid, ends) = match start(folder, &orders) {
        Ok(started) => started,
        Err(error) => {
            println!("{}", error.to_string().replace('\n', " "));
            return Err(error);
        }
    };
    let listener = UnixListener::bind(folder.join(ATTACH_SOCKET))?;
    println!("ok {pid}");
    // Whoever started us waits for the end of this line; we keep no way to him.
    let _ = nix::unistd::dup2_stdout(fs::File::open("/dev/null")?);

    let writer = Writer::open(&orders.log)?;
    let (tell, _) = broadcast::channel(ATTACHED_BEHIND_MAX);
    let (input, inputs) = mpsc::channel(INPUT_WAITING_MAX);
    let serving = tokio::spawn(attach::serve(listener, tell.clone(), input, orders.stdin_once));
    let feeding = tokio::spawn(attach::feed(ends.input, inputs));
    let mut copying = tokio::spawn(copy(ends.outputs, writer, tell));
    let exit = loop {
        children.recv().await;
        if let Some(exit) = reap(pid) {
            break exit;
        }
    };
    if tokio::time::timeout(DRAIN_MAX, &mut copying).await.is_err() {
        copying.abort();
    }
    write_atomic(&folder.join(EXIT), &serde_json::to_vec(&exit)?)?;
    serving.abort();
    feeding.abort();
    Ok(())
}

/// Takes the ends of all processes that have none left but us; gives back the container's.
fn reap(container: Pid) -> Option<Exit> {
    let mut exit = None;
    loop {
        let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code, None),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32, Some(signal as i32)),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return exit,
            Ok(_) => continue,
            Err(_) => return exit,
        };
        if pid == container {
            exit = Some(Exit { code, signal, at: jiff::Timestamp::now() });
        }
    }
}

fn start(folder: &Path, orders: &Orders) -> anyhow::Result<(Pid, Ends)> {
    let mut command = Command::new(&orders.runc);
    command.arg("--root").arg(&orders.runc_root);
    command.arg("--log").arg(folder.join("runc.log")).args(["--log-format", "json", "run", "--detach"]);
    command.arg("--bundle").arg(folder).arg("--pid-file").arg(folder.join(PID));
    let ends =
        if orders.tty { terminal(folder, &orders.id, command)? } else { pipes(folder, orders, command)? };
    let pid: i32 = fs::read_to_string(folder.join(PID))?.trim().parse()?;
    Ok((Pid::from_raw(pid), ends))
}

fn pipes(folder: &Path, orders: &Orders, mut command: Command) -> anyhow::Result<Ends> {
    let (stdout, stdout_theirs) = io::pipe()?;
    let (stderr, stderr_theirs) = io::pipe()?;
    let mut input = None;
    if orders.stdin {
        let (theirs, ours) = io::pipe()?;
        command.stdin(theirs);
        input = Some(Input::Pipe(pipe::Sender::from_owned_fd(nonblocking(ours.into())?)?));
    } else {
        command.stdin(Stdio::null());
    }
    let status = command.stdout(stdout_theirs).stderr(stderr_theirs).arg(&orders.id).status();
    // Our copies of the container's ends close here, so that the pipes end with it.
    drop(command);
    if !status?.success() {
        anyhow::bail!(reason(folder));
    }
    let receiver =
        |end: OwnedFd| io::Result::Ok(Output::Pipe(pipe::Receiver::from_owned_fd(nonblocking(end)?)?));
    let outputs =
        vec![(Stream::Stdout, receiver(stdout.into())?), (Stream::Stderr, receiver(stderr.into())?)];
    Ok(Ends { outputs, input })
}

fn terminal(folder: &Path, id: &str, mut command: Command) -> anyhow::Result<Ends> {
    let socket = ConsoleSocket::bind(&folder.join("console.sock"))?;
    command.arg("--console-socket").arg(socket.path()).arg(id);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if !status.success() {
        anyhow::bail!(reason(folder));
    }
    let master = fs::File::from(socket.receive()?);
    let outputs = vec![(Stream::Stdout, Output::Terminal(tokio::fs::File::from_std(master.try_clone()?)))];
    Ok(Ends { outputs, input: Some(Input::Terminal(master)) })
}

fn nonblocking(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(&descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(descriptor)
}

/// What runc said last in its log.
fn reason(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("runc.log")).unwrap_or_default();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let last = lines.filter_map(|line| line["msg"].as_str().map(str::to_owned)).next_back();
    last.unwrap_or_else(|| "runc failed and did not say why".to_owned())
}

async fn copy(outputs: Vec<(Stream, Output)>, writer: Writer, tell: broadcast::Sender<Frame>) {
    let writer = Arc::new(Mutex::new(writer));
    let each = outputs.into_iter().map(|(stream, output)| {
        let (writer, tell) = (writer.clone(), tell.clone());
        async move {
            match output {
                Output::Pipe(pipe) => copy_one(stream, pipe, &writer, &tell).await,
                Output::Terminal(file) => copy_one(stream, file, &writer, &tell).await,
            }
        }
    });
    futures_util::future::join_all(each).await;
}

async fn copy_one(
    stream: Stream,
    mut from: impl AsyncRead + Unpin,
    writer: &Mutex<Writer>,
    tell: &broadcast::Sender<Frame>,
) {
    let mut piece = vec![0; PIECE];
    // A terminal whose other side has closed gives an error: the end, too.
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let bytes = &piece[..length];
        if let Err(error) = writer.lock().write(stream, bytes, jiff::Timestamp::now()) {
            eprintln!("cannot write the log: {error}");
        }
        let frame = match stream {
            Stream::Stdout => Frame::Stdout(bytes.to_vec()),
            Stream::Stderr => Frame::Stderr(bytes.to_vec()),
        };
        let _ = tell.send(frame);
    }
    let _ = writer.lock().finish(stream, jiff::Timestamp::now());
}

/// Writes a file so that nobody ever sees half of it.
///
/// # Errors
/// When it cannot be written.
pub fn write_atomic(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(&new, path)
}
