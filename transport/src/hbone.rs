//! HBONE: streams as HTTP/2 CONNECT requests inside mutual TLS, as Istio's ztunnel speaks it.
//!
//! [`server`] terminates tunnels, [`crate::pool`] opens them, [`head`] is what both ends say.

pub(crate) mod carrier;
pub(crate) mod client;
pub mod connect;
pub mod head;
pub(crate) mod keepalive;
pub mod server;

use std::time::{Duration, SystemTime};

pub use connect::{Connect, RefusalStatus};
pub use head::{Authority, AuthorityError, ConnectHead, ConnectRequest, Origin, OriginField, ResponseHead};
pub use server::{AcceptError, Terminated, TunnelHandle, accept};

/// The port on which tunnels are accepted.
pub const PORT: u16 = 15008;
/// Most streams a tunnel may carry at once, so that every stream can have its window beside the connection's.
pub const STREAMS_MAX: u32 = 400;

/// Bounds of one tunnel, the same at both ends.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Streams open at once that we accept from the other end.
    pub streams: u32,
    /// Bytes of one request's header fields, as HTTP/2 counts them.
    pub header_bytes: u32,
    /// Bytes that one stream may have under way to us.
    pub stream_window: u32,
    /// Bytes that all streams together may have under way to us, beside each stream's own window.
    pub connection_window: u32,
    /// Bytes of one DATA frame.
    pub frame_bytes: u32,
    /// Bytes of one stream that may wait to be sent.
    pub send_buffer: usize,
    /// Streams that the other end may reset before we saw them.
    pub resets_pending: usize,
    /// Streams that the other end may reset before we answered, beyond those that it let live: a flood ends the tunnel.
    pub resets_unanswered: u32,
    /// Time for TLS and HTTP/2 to begin.
    pub handshake_timeout: Duration,
    /// Time after which the other end of a tunnel is asked whether it is there.
    pub ping_interval: Duration,
    /// Time it has for the answer.
    pub ping_timeout: Duration,
    /// What time it is: a tunnel takes no new streams after either end's certificate has ended.
    pub now: fn() -> SystemTime,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 200,
            header_bytes: 64 * 1024,
            stream_window: 4 * 1024 * 1024,
            connection_window: 16 * 1024 * 1024,
            frame_bytes: 1024 * 1024,
            send_buffer: 1024 * 1024,
            resets_pending: 20,
            resets_unanswered: 200,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(20),
            now: SystemTime::now,
        }
    }
}

impl Limits {
    /// The connection's window when so many streams are open.
    fn connection_target(&self, streams: u32) -> u32 {
        /// RFC 9113, section 6.9.1.
        const WINDOW_MAX: u32 = (1 << 31) - 1;
        let unread = self.stream_window.saturating_mul(streams);
        self.connection_window.saturating_add(unread).min(WINDOW_MAX)
    }
}
