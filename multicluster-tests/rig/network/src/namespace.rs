//! A network namespace: made, entered, and used for sockets and programs without leaving one's own.
//!
//! A namespace belongs to a thread. Whatever happens inside one here happens on a thread that ends with it, or
//! in a child between fork and exec, so that no thread of a program's pool is ever left in the wrong place.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::netlink::{Change, NetlinkError, Socket};

/// Where named namespaces are; the folder that `ip netns` uses.
pub const NAMED: &str = "/run/netns";

/// A network namespace that something holds open in the file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Namespace {
    path: PathBuf,
}

/// Whether a link carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It does.
    Up,
    /// It does not, as with its cable pulled.
    Down,
}

impl Namespace {
    /// The namespace that `ip netns` knows by this name.
    pub fn named(name: &str) -> Namespace {
        Namespace { path: Path::new(NAMED).join(name) }
    }

    /// The namespace that this file holds open, as a pod's.
    pub fn at(path: impl Into<PathBuf>) -> Namespace {
        Namespace { path: path.into() }
    }

    /// The file that holds it open.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is there.
    pub fn exists(&self) -> bool {
        self.inode().is_some()
    }

    /// Its number, as `/proc/<pid>/ns/net` shows it too. None if it is not there, or only its file is.
    pub fn inode(&self) -> Option<u64> {
        inode(&self.path)
    }

    /// Makes it, and lets `prepare` set it up before it has its name. Fails if the name is taken.
    pub(crate) fn create(&self, prepare: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
        let _one_at_a_time = share_named()?;
        File::create_new(&self.path)?;
        let made = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            prepare()?;
            let own = Path::new("/proc/thread-self/ns/net");
            Ok(mount(Some(own), &self.path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        });
        made.inspect_err(|_| {
            // The file alone is no namespace; nobody misses it.
            let _ = fs::remove_file(&self.path);
        })
    }

    /// Removes it. It is gone when no process is left in it. One that is gone already is no error.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match umount2(&self.path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs `act` inside, on a thread of its own. Sockets it opens stay inside wherever they are used.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> io::Result<T> {
        let file = File::open(&self.path)?;
        on_thread(|| {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            Ok(act())
        })
    }

    /// A command that starts inside. Only its network is inside; files and processes are the machine's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> io::Result<Command> {
        let file = File::open(&self.path)?;
        let mut command = Command::new(program);
        // SAFETY: between fork and exec only one system call is made, which takes no lock and no memory.
        unsafe {
            command.pre_exec(move || Ok(setns(&file, CloneFlags::CLONE_NEWNET)?));
        }
        Ok(command)
    }

    /// Connects from inside.
    pub fn tcp_connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        self.enter(|| TcpStream::connect_timeout(&to, timeout))?
    }

    /// Listens inside.
    pub fn tcp_listen(&self, at: SocketAddr) -> io::Result<TcpListener> {
        self.enter(|| TcpListener::bind(at))?
    }

    /// Binds a UDP socket inside.
    pub fn udp_bind(&self, at: SocketAddr) -> io::Result<UdpSocket> {
        self.enter(|| UdpSocket::bind(at))?
    }

    /// Switches a link inside on or off. Routes over a link that goes down are forgotten by the kernel, so a
    /// fault is better made at the far end, as [`crate::Fabric::cable`] does.
    pub fn link(&self, name: &str, state: LinkState) -> Result<(), NetlinkError> {
        self.change(&[Change::Switch { link: name.to_owned(), on: state == LinkState::Up }])
    }

    pub(crate) fn change(&self, changes: &[Change]) -> Result<(), NetlinkError> {
        let cannot_enter = |cause| NetlinkError {
            change: format!("enter {}", self.path.display()),
            cause,
            note: String::new(),
        };
        self.enter(|| Socket::open().map_err(cannot_enter)?.apply_all(changes)).map_err(cannot_enter)?
    }
}

/// The number of the namespace behind a file; none if the file is no namespace.
pub(crate) fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let own = fs::metadata("/proc/self/ns/net").ok()?;
    let found = fs::metadata(path).ok()?;
    // All namespaces live on one small file system of the kernel's; a plain file lives elsewhere.
    (own.dev() == found.dev()).then(|| found.ino())
}

fn on_thread<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, act)?;
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Makes the folder of named namespaces as `ip netns add` does: mounts in it are seen by every mount
/// namespace that shares with ours, so that removing one here removes it everywhere.
fn share_named() -> io::Result<Flock<File>> {
    fs::create_dir_all(NAMED)?;
    let lock = Flock::lock(File::open(NAMED)?, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    let none = None::<&str>;
    if mount(none, NAMED, none, shared, none).is_err() {
        mount(Some(NAMED), NAMED, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
        mount(none, NAMED, none, shared, none)?;
    }
    Ok(lock)
}
