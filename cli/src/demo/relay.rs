//! Recording relays: they stand where a node or gateway says that it listens, pass every byte on to where it
//! really listens, and write down what passes.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use transport::{Address, Listener, dial};

/// The most that one relay writes down, in bytes; a demo passes far less, and the last step says if it did not.
const RECORDED_BYTES_MAX: u64 = 256 << 20;
/// How long the real listener may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One relay and its recording.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    file: PathBuf,
    recording: Arc<Recording>,
}

#[derive(Debug)]
struct Recording {
    file: Mutex<File>,
    bytes: AtomicU64,
    connections: AtomicU64,
}

impl Relay {
    /// Listens at one address, passes on to another, records into a file.
    pub(crate) fn start(at: Address, to: Address, file: &Path) -> io::Result<Self> {
        let listener = Listener::bind(&at)?;
        let recording = Arc::new(Recording {
            file: Mutex::new(File::create(file)?),
            bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let relay = Self { file: file.to_owned(), recording: recording.clone() };
        tokio::spawn(async move {
            while let Ok(arrived) = listener.accept().await {
                recording.connections.fetch_add(1, Ordering::Relaxed);
                let (to, recording) = (to.clone(), recording.clone());
                tokio::spawn(async move {
                    let target = dial::Target { address: to, from: None, timeout: CONNECT_TIMEOUT };
                    let Ok(onward) = dial::dial(&target).await else {
                        arrived.reset();
                        return;
                    };
                    let (from_caller, to_caller) = tokio::io::split(arrived);
                    let (from_server, to_server) = tokio::io::split(onward);
                    // A connection that breaks off ends here too, and its ends see it.
                    let _ = tokio::join!(
                        pass(from_caller, to_server, &recording),
                        pass(from_server, to_caller, &recording)
                    );
                });
            }
        });
        Ok(relay)
    }

    /// How many bytes and connections passed.
    pub(crate) fn passed(&self) -> (u64, u64) {
        (self.recording.bytes.load(Ordering::Relaxed), self.recording.connections.load(Ordering::Relaxed))
    }

    /// True if everything that passed was written down.
    pub(crate) fn whole(&self) -> bool {
        self.passed().0 <= RECORDED_BYTES_MAX
    }

    /// True if the recording has these bytes in a row.
    pub(crate) fn holds(&self, needle: &[u8]) -> io::Result<bool> {
        self.recording.file.lock().unwrap_or_else(PoisonError::into_inner).flush()?;
        let recorded = std::fs::read(&self.file)?;
        Ok(recorded.windows(needle.len()).any(|window| window == needle))
    }
}

/// One direction. A byte is written down before it is passed on.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    recording: &Recording,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let chunk = &buffer[..length];
        if recording.bytes.fetch_add(length as u64, Ordering::Relaxed) < RECORDED_BYTES_MAX {
            recording.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(chunk)?;
        }
        to.write_all(chunk).await?;
    }
}
