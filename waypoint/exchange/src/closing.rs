//! How an exchange is ended from outside: a new denial, a revocation, a drain that is over.

use std::sync::Arc;

use mesh::Denial;
use tokio::sync::watch;

/// Ends one exchange. Clones are the same; the first denial stays.
#[derive(Debug, Clone)]
pub struct Closing {
    sender: Arc<watch::Sender<Option<Arc<Denial>>>>,
}

impl Default for Closing {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(None)) }
    }
}

impl Closing {
    /// Ends the exchange: whoever streams for it writes a well-formed end.
    pub fn close(&self, denial: Denial) {
        self.sender.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(Arc::new(denial));
            }
            first
        });
    }

    /// Why it was ended, if it was.
    pub fn denial(&self) -> Option<Arc<Denial>> {
        self.sender.borrow().clone()
    }

    /// Waits until it is ended.
    pub fn closed(&self) -> impl Future<Output = Arc<Denial>> + Send + 'static {
        let mut watch = self.sender.subscribe();
        // Kept, so that the wait cannot end because nobody is left to close: then it waits for ever.
        let sender = Arc::clone(&self.sender);
        async move {
            loop {
                if let Some(denial) = watch.borrow_and_update().clone() {
                    return denial;
                }
                if watch.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                let _ = &sender;
            }
        }
    }
}
