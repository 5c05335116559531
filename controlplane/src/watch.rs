//! Watches folders of YAML, and hands on what counts after each change.
//!
//! *Flow*: the system tells of a change; as soon as it has been quiet for a moment, the folders are looked at,
//! what changed is parsed and admitted, and the whole is handed on if it differs. *Guarantees*: a file that is
//! being written is not read until it is closed; an editor's rename is one change; what is broken concerns its
//! object alone. *Caveats*: changes that the system does not tell of (some network file systems) are found by
//! looking again every few seconds.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use api::Input;
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind, RenameMode},
};
use tokio::sync::watch;

pub(crate) mod documents;
pub(crate) mod folder;

#[cfg(test)]
mod tests;

use crate::accepted::Door;
use folder::{Folder, is_ours};

/// How long it must be quiet before the folders are looked at: an editor's rename is over by then.
const QUIET: Duration = Duration::from_millis(10);
/// The longest that a look waits for quiet.
const QUIET_MAX: Duration = Duration::from_millis(40);
/// The longest that a file which somebody holds open for writing is left unread.
const WRITING_MAX: Duration = Duration::from_secs(1);
/// Looking again without being told, for what the system did not tell.
const AGAIN: Duration = Duration::from_secs(3);
/// The same, if the system tells nothing at all.
const AGAIN_UNTOLD: Duration = Duration::from_millis(250);
/// Most changes that wait to be seen; beyond them everything is looked at.
const CHANGES_MAX: usize = 1024;

/// Reading is recursive, up to a depth that this holds many times over.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// Compiles a CEL expression, only to say whether it can be.
pub type Compiler = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// What is watched, and where it is remembered.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folders of YAML and JSON, looked into one level deep, and files by themselves.
    pub paths: Vec<PathBuf>,
    /// The directory in which the last accepted form of each object is kept; without it, it is kept for this run.
    pub accepted: Option<PathBuf>,
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A path is not there at the start, which is more likely a typo than a wish.
    #[error("cannot read {path}")]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// No thread for it.
    #[error("cannot start to watch")]
    Thread(#[source] io::Error),
}

/// A running watch; dropped, it ends.
#[derive(Debug)]
pub struct Watch {
    inputs: watch::Receiver<Arc<Input>>,
    stop: Arc<AtomicBool>,
    changes: SyncSender<Change>,
}

impl Watch {
    /// Looks once, so that there is an input when this returns, and goes on watching.
    ///
    /// # Errors
    /// When a path is not there, or a thread cannot be started.
    pub fn start(config: Config, compiler: Compiler) -> Result<Self, WatchError> {
        check_paths(&config.paths)?;
        let door = match &config.accepted {
            Some(directory) => Door::remembering(directory),
            None => Door::forgetful(),
        };
        let (changes, arrivals) = sync_channel(CHANGES_MAX);
        let overflow = Arc::new(AtomicBool::new(false));
        let told = tell(changes.clone(), Arc::clone(&overflow));
        let (sender, inputs) = watch::channel(Arc::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut watching = Watching {
            folder: Folder::new(config.paths),
            door,
            compiler,
            told,
            watched: BTreeSet::new(),
            writing: HashMap::new(),
            overflow,
            inputs: sender,
        };
        let ended = Arc::clone(&stop);
        let (looked, first) = sync_channel(1);
        thread::Builder::new()
            .name("watch".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                // Folders are watched before they are looked at: what changes in between is told.
                watching.look();
                // Nobody waits any more if the start was given up.
                let _ = looked.send(());
                watching.run(&arrivals, &ended);
            })
            .map_err(WatchError::Thread)?;
        // It fails only if the first look did not come to its end; then there is an empty input.
        let _ = first.recv();
        Ok(Self { inputs, stop, changes })
    }

    /// What counts; a newer one replaces one that was not read.
    pub fn inputs(&self) -> watch::Receiver<Arc<Input>> {
        self.inputs.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // If there is no room, something else wakes it.
        let _ = self.changes.try_send(Change::Other);
    }
}

/// Reads folders and files once, remembering nothing: what they would be accepted as.
///
/// # Errors
/// When a path is not there.
pub fn read(paths: Vec<PathBuf>, compiler: &Compiler) -> Result<Arc<Input>, WatchError> {
    check_paths(&paths)?;
    let compiler = Arc::clone(compiler);
    let reading = thread::Builder::new().name("read".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        let look = Folder::new(paths).look(&*compiler, |_| false);
        Door::forgetful().pass(&look).0
    });
    let gave_up = |_| WatchError::Thread(io::Error::other("reading gave up"));
    reading.map_err(WatchError::Thread)?.join().map_err(gave_up)
}

/// What these files would be seen as, without a disk.
#[cfg(test)]
pub(crate) fn read_text(files: &[(&str, &str)]) -> folder::Look {
    let compile = |_: &str| Ok(());
    let read = |(name, text): &(&str, &str)| {
        Arc::new(folder::FileRead {
            name: (*name).to_owned(),
            written: documents::read(name, text, &compile),
        })
    };
    folder::Look { files: files.iter().map(read).collect(), unreadable: Vec::new() }
}

/// One look at one folder.
#[cfg(test)]
pub(crate) fn look_at(folder: &Path) -> folder::Look {
    Folder::new(vec![folder.to_owned()]).look(&|_| Ok(()), |_| false)
}

fn check_paths(paths: &[PathBuf]) -> Result<(), WatchError> {
    for path in paths {
        std::fs::metadata(path).map_err(|cause| WatchError::Path { path: path.clone(), cause })?;
    }
    Ok(())
}

/// What the system told.
#[derive(Debug)]
enum Change {
    /// Somebody writes into a file.
    Writing(PathBuf),
    /// It is whole again: closed, or put in place by a rename.
    Whole(PathBuf),
    /// A folder is gone, and with it the system's watch on it, even if there is one of that name again.
    Gone(PathBuf),
    /// Anything else.
    Other,
}

fn changes(event: &Event) -> Vec<Change> {
    let each =
        |change: fn(PathBuf) -> Change| event.paths.iter().filter(|path| is_ours(path)).cloned().map(change);
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => each(Change::Whole).collect(),
        // What we and others read is no change.
        EventKind::Access(_) => Vec::new(),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            match event.paths.iter().any(|path| is_ours(path)) {
                true => each(Change::Whole).collect(),
                // A folder that was moved in.
                false => vec![Change::Other],
            }
        }
        EventKind::Modify(ModifyKind::Data(_)) => each(Change::Writing).collect(),
        // A link is whole as soon as it is there.
        EventKind::Create(CreateKind::File) if !event.paths.iter().any(|path| path.is_symlink()) => {
            each(Change::Writing).collect()
        }
        EventKind::Remove(RemoveKind::Folder) => event.paths.iter().cloned().map(Change::Gone).collect(),
        _ => vec![Change::Other],
    }
}

/// Asks the system to tell; `None` if it does not.
fn tell(changed: SyncSender<Change>, overflow: Arc<AtomicBool>) -> Option<RecommendedWatcher> {
    let told = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let changes = match &event {
            Ok(event) if event.need_rescan() => vec![Change::Other],
            Ok(event) => changes(event),
            Err(_) => vec![Change::Other],
        };
        for change in changes {
            if changed.try_send(change).is_err() {
                overflow.store(true, Ordering::Release);
            }
        }
    });
    told.inspect_err(
        |error| tracing::warn!(%error, "the system tells of no changes; looking again and again"),
    )
    .ok()
}

struct Watching {
    folder: Folder,
    door: Door,
    compiler: Compiler,
    told: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// Files that somebody writes into, and since when.
    writing: HashMap<PathBuf, Instant>,
    overflow: Arc<AtomicBool>,
    inputs: watch::Sender<Arc<Input>>,
}

impl Watching {
    fn run(mut self, arrivals: &Receiver<Change>, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            match arrivals.recv_timeout(self.patience()) {
                Ok(change) => {
                    self.note(change);
                    self.wait_for_quiet(arrivals);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !stop.load(Ordering::Acquire) {
                self.look();
            }
        }
    }

    /// How long nothing may be told before the folders are looked at all the same.
    fn patience(&self) -> Duration {
        let again = if self.told.is_some() { AGAIN } else { AGAIN_UNTOLD };
        let first = self.writing.values().min().map(|since| WRITING_MAX.saturating_sub(since.elapsed()));
        first.map_or(again, |left| left.min(again))
    }

    fn note(&mut self, change: Change) {
        match change {
            Change::Writing(path) if self.writing.len() < CHANGES_MAX => {
                self.writing.entry(path).or_insert_with(Instant::now);
            }
            Change::Whole(path) => {
                self.writing.remove(&path);
            }
            Change::Gone(folder) => {
                self.watched.remove(&folder);
            }
            Change::Writing(_) | Change::Other => {}
        }
    }

    fn wait_for_quiet(&mut self, arrivals: &Receiver<Change>) {
        let end = Instant::now() + QUIET_MAX;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match arrivals.recv_timeout(QUIET.min(left)) {
                Ok(change) => self.note(change),
                Err(_) => return,
            }
        }
    }

    fn look(&mut self) {
        if self.overflow.swap(false, Ordering::AcqRel) {
            // Changes were lost, so nobody knows any more who is writing.
            self.writing.clear();
        }
        self.writing.retain(|_, since| since.elapsed() < WRITING_MAX);
        self.watch_folders();
        let look = self.folder.look(&*self.compiler, |path| self.writing.contains_key(path));
        let (input, remember) = self.door.pass(&look);
        self.hand_on(input);
        // In force first, remembered then: the disk is no part of how fast an edit takes effect.
        if remember && self.door.remember() {
            let (input, _) = self.door.pass(&look);
            self.hand_on(input);
        }
    }

    fn hand_on(&self, input: Arc<Input>) {
        self.inputs.send_if_modified(|current| {
            let newer = input.generation > current.generation;
            if newer {
                *current = input;
            }
            newer
        });
    }

    /// Folders come and go.
    fn watch_folders(&mut self) {
        let Some(told) = &mut self.told else { return };
        let folders = self.folder.folders();
        for gone in self.watched.difference(&folders) {
            // It is gone; there is nothing left to unwatch, and nothing to do if that is not so.
            let _ = told.unwatch(gone);
        }
        let watch = |folder: &Path, told: &mut RecommendedWatcher| {
            told.watch(folder, RecursiveMode::NonRecursive)
                .inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "cannot be watched"))
                .is_ok()
        };
        self.watched = folders
            .into_iter()
            .filter(|folder| self.watched.contains(folder) || watch(folder, told))
            .collect();
    }
}
