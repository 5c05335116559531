//! Carries the bytes of one stream to another and back, until both directions have ended.

use std::{io, sync::Arc, sync::atomic::AtomicU64, time::Duration};

use crate::stream::Stream;

/// Ends a relay from elsewhere.
pub type Cancel = tokio_util::sync::CancellationToken;

/// How a relay behaves.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ends it when no byte moved in either direction for so long.
    pub idle_timeout: Option<Duration>,
    /// Counted as bytes move, for whoever watches.
    pub counts: Arc<Counts>,
}

/// Bytes moved so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// From the first stream to the second.
    pub sent: AtomicU64,
    /// From the second stream to the first.
    pub received: AtomicU64,
}

/// What a relay did.
#[derive(Debug)]
pub struct Relayed {
    /// Bytes from the first stream to the second.
    pub sent: u64,
    /// Bytes from the second stream to the first.
    pub received: u64,
    /// How it ended.
    pub end: End,
}

/// How a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions were finished by those who wrote them.
    Finished,
    /// It was cancelled; both streams were reset.
    Cancelled,
    /// Nothing moved for too long; both streams were reset.
    Idle,
    /// One stream was cut; the other was reset.
    Failed {
        /// Which.
        side: Side,
        /// How.
        cause: io::Error,
    },
}

/// One of the two streams of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    First,
    /// The second.
    Second,
}

/// Carries bytes both ways between two streams. A direction that finishes is finished at the other side; the other
/// direction goes on. Bytes are read only as far as they can be written.
pub async fn relay(first: Stream, second: Stream, cancel: &Cancel, options: &Options) -> Relayed {
    let _ = (first, second, cancel, options);
    todo!()
}
