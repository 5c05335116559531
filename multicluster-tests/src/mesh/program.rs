//! One program on a thread and a single-threaded runtime of its own, which can be killed.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How long blocking work of a killed program may hold its thread.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    ended: Arc<Mutex<Option<String>>>,
}

impl Program {
    /// Starts what `make` makes.
    ///
    /// # Errors
    /// When there is no thread or runtime.
    pub fn start<F>(name: &str, make: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>>,
    {
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = Arc::new(Mutex::new(None));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = Arc::clone(&ended);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let running = std::pin::pin!(async { make().await });
                tokio::select! {
                    // Killed: whatever it holds is dropped with the runtime.
                    _ = stopped => {}
                    result = running => {
                        let how = result.map_or_else(|error| format!("{error:#}"), |()| "it ended".to_owned());
                        *end.lock() = Some(how);
                    }
                }
            });
            runtime.shutdown_timeout(KILL_TIMEOUT);
        });
        let thread = thread.context("there is no thread for a program")?;
        Ok(Self { name: name.to_owned(), stop: Some(stop), thread: Some(thread), ended })
    }

    /// How it ended, if it did by itself.
    pub fn ended(&self) -> Option<String> {
        self.ended.lock().as_ref().map(|how| format!("{}: {how}", self.name))
    }

    /// Kills it: nothing is drained, no goodbye is said. Returns when nothing of it is left.
    pub fn kill(mut self) {
        self.stop_now();
    }

    fn stop_now(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A program that panicked is dead as well; its message was printed.
            let _ = thread.join();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop_now();
    }
}
