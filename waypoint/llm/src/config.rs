//! Bounds of calls, and where time and chance come from.

use std::time::{Duration, Instant, SystemTime};

/// Bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long the body of a request may be, in bytes.
    pub body_bytes_max: usize,
    /// How long an answer that is not streamed may be, in bytes.
    pub answer_bytes_max: usize,
    /// How long one event of a stream may be, in bytes.
    pub event_bytes_max: usize,
    /// How long a stream may be, in bytes.
    pub stream_bytes_max: u64,
    /// How long a provider may take from the head of its answer to the first of a stream's content, or to the end of
    /// an answer that is not streamed.
    pub answer_timeout: Duration,
    /// How many providers are tried for one call.
    pub attempts_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            answer_bytes_max: 16 << 20,
            event_bytes_max: 4 << 20,
            stream_bytes_max: 64 << 20,
            answer_timeout: Duration::from_secs(600),
            attempts_max: 8,
        }
    }
}

/// Where time and chance come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources {
    /// Monotonic.
    pub now: fn() -> Instant,
    /// Of the calendar.
    pub time: fn() -> SystemTime,
    /// Random numbers.
    pub chance: fn() -> u64,
}
