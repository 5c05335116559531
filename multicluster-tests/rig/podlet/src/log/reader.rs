//! Reads a log from where it was asked to where it ends, or on and on while it is written.
//!
//! Files are read directly, not on threads of their own: they are local and mostly in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use super::files;
use super::line::{Line, TEXT_LENGTH_MAX};
use super::select::{Selection, Selector};
use super::tail::{self, Tail};
use crate::inotify::Watch;

/// How much is read of a file at a time.
const READ_LENGTH: usize = 64 * 1024;
/// The longest line that is taken for one; a file without ends of lines is not one of ours.
const LINE_LENGTH_MAX: usize = TEXT_LENGTH_MAX + 1024;
/// How long the last lines of a container that has ended may take to reach its log.
const LAST_LINES_TIME_MAX: Duration = Duration::from_secs(2);

/// Resolves when the container whose log is followed has ended.
pub type Ended = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file of it cannot be opened or read.
    #[error("cannot read the log {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The kernel does not tell of changes.
    #[error("cannot follow the log: {0}")]
    Watch(#[source] io::Error),
}

/// One reading of one log.
///
/// *Flow*: [`Reader::next`] gives bytes as the selection wants them told, some lines at a time, and
/// `None` at the end. *Guarantees*: when following, no line is left out or told twice, also when the
/// file is rotated meanwhile; reading ends after the last line of a container that has ended.
pub struct Reader {
    path: PathBuf,
    selector: Selector,
    /// Older files still to be read.
    older: VecDeque<PathBuf>,
    file: File,
    /// What was read and is not yet a whole line.
    rest: Vec<u8>,
    following: Option<Following>,
}

struct Following {
    watch: Watch,
    ended: Ended,
    has_ended: bool,
    closed: bool,
}

impl Reader {
    /// Opens the log at `path`. `ended` counts when the selection follows.
    ///
    /// # Errors
    /// When there is no such log.
    pub fn open(path: &Path, selection: Selection, ended: Ended) -> Result<Self, ReadError> {
        // Watched before the end of the file is looked for: what is written meanwhile is told.
        let watch = selection.follow.then(|| Watch::new(path)).transpose().map_err(ReadError::Watch)?;
        let following = watch.map(|watch| Following { watch, ended, has_ended: false, closed: false });
        let mut older = VecDeque::from(files::all(path));
        let begin = match selection.tail {
            Some(lines) => skip_to_tail(&mut older, lines)?,
            None => 0,
        };
        let first = older.pop_front().unwrap_or_else(|| path.to_owned());
        let file = open_at(&first, begin)?;
        let selector = Selector::new(selection);
        Ok(Self { path: path.to_owned(), selector, older, file, rest: Vec::new(), following })
    }

    /// The next lines.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        while !self.selector.full() {
            let mut out = Vec::new();
            let read = self.read(&mut out).map_err(|cause| self.failed(cause))?;
            if !out.is_empty() {
                return Ok(Some(out));
            }
            if read == 0 && !self.advance()? && !self.wait().await? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Reads on in the file at hand, and appends what is wanted of it.
    fn read(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let before = self.rest.len();
        self.rest.resize(before + READ_LENGTH, 0);
        let read = self.file.read(&mut self.rest[before..]);
        self.rest.truncate(before + *read.as_ref().unwrap_or(&0));
        let mut taken = 0;
        for line in self.rest.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else { break };
            taken += line.len();
            if let Some(line) = Line::read(text) {
                self.selector.take(&line, out);
            }
        }
        self.rest.drain(..taken);
        if self.rest.len() > LINE_LENGTH_MAX {
            self.rest.clear();
        }
        read
    }

    /// Goes to the next file, if there is one: an older one that was not read yet, or the one that is
    /// written since the one at hand was full.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if let Some(next) = self.older.pop_front() {
            self.file = open_at(&next, 0)?;
            return Ok(true);
        }
        if self.following.is_none() {
            return Ok(false);
        }
        let at_hand = self.file.metadata().map_err(|cause| self.failed(cause))?.ino();
        match std::fs::metadata(&self.path) {
            Ok(written) if written.ino() != at_hand => {
                self.catch_up(at_hand)?;
                Ok(true)
            }
            // Between the rename and the new file there is none; an event will tell of it.
            _ => Ok(false),
        }
    }

    /// After the file at hand there may be several by now.
    fn catch_up(&mut self, at_hand: u64) -> Result<(), ReadError> {
        let mut all = VecDeque::from(files::all(&self.path));
        let place = all.iter().position(|file| inode(file) == Some(at_hand));
        all.drain(..place.map_or(0, |place| place + 1));
        self.older = all;
        let next = self.older.pop_front().unwrap_or_else(|| self.path.clone());
        self.file = open_at(&next, 0)?;
        Ok(())
    }

    /// Waits for more; `false` when none will come.
    async fn wait(&mut self) -> Result<bool, ReadError> {
        let Some(following) = &mut self.following else { return Ok(false) };
        if following.has_ended && following.closed {
            return Ok(false);
        }
        tokio::select! {
            changes = following.watch.changed(&self.path) => {
                let changes = changes.map_err(ReadError::Watch)?;
                following.closed = changes.closed.unwrap_or(following.closed);
            }
            () = &mut following.ended, if !following.has_ended => following.has_ended = true,
            () = tokio::time::sleep(LAST_LINES_TIME_MAX), if following.has_ended => following.closed = true,
        }
        Ok(true)
    }

    fn failed(&self, cause: io::Error) -> ReadError {
        ReadError::File { path: self.path.clone(), cause }
    }
}

/// Leaves out the files before the last `lines` lines; says where these begin in the first that is left.
fn skip_to_tail(files: &mut VecDeque<PathBuf>, lines: u64) -> Result<u64, ReadError> {
    let mut wanted = lines;
    for index in (0..files.len()).rev() {
        let failed = |cause| ReadError::File { path: files[index].clone(), cause };
        let file = File::open(&files[index]).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        match tail::find(&file, length, wanted).map_err(failed)? {
            Tail::From(begin) => {
                files.drain(..index);
                return Ok(begin);
            }
            Tail::Missing(missing) => wanted = missing,
        }
    }
    Ok(0)
}

fn open_at(path: &Path, begin: u64) -> Result<File, ReadError> {
    let open = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(begin))?;
        Ok(file)
    };
    open().map_err(|cause| ReadError::File { path: path.to_owned(), cause })
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

#[cfg(test)]
mod tests;
