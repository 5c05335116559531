//! Waits until something happens in a folder, by inotify.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells of writes, of files that came and went, and of files that their writer closed.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: AsyncFd<Descriptor>,
}

/// What happened since the last look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The last that happened to the file of the name: whether its writer closed it, or wrote.
    pub(crate) closed: Option<bool>,
}

/// `Inotify` lends its descriptor as `AsFd` only; the reactor wants `AsRawFd`.
#[derive(Debug)]
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    /// Watches the folder of `path` for what is written.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE;
        Self::of(path.parent().unwrap_or(Path::new(".")), flags)
    }

    /// Watches a folder for files that are there, whole, or not any more.
    pub(crate) fn files(folder: &Path) -> io::Result<Self> {
        let flags = AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE;
        Self::of(folder, flags)
    }

    fn of(folder: &Path, flags: AddWatchFlags) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        inotify.add_watch(folder, flags)?;
        // SAFETY: the descriptor is owned by what is registered, and open as long as that lives.
        let inotify = unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE) }?;
        Ok(Self { inotify })
    }

    /// Waits for the next changes.
    pub(crate) async fn changed(&mut self, path: &Path) -> io::Result<Changes> {
        loop {
            let mut ready = self.inotify.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(events) => {
                    let last = events.iter().rfind(|event| event.name.as_deref() == path.file_name());
                    let closed = last.map(|event| event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE));
                    return Ok(Changes { closed });
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
