//! SPDY/3.1 over any byte stream: what a Kubernetes API server speaks to a kubelet for exec, attach
//! and port-forward.
//!
//! The crate knows frames, header blocks and streams. It does not know Kubernetes, HTTP, TLS or how
//! a connection came to be: [`server`] takes what is left after the upgrade.
//!
//! Where the draft and the one peer that is left in the world (`moby/spdystream`) differ, the peer
//! decides: it neither keeps to flow-control windows nor announces them, so WINDOW_UPDATE and
//! SETTINGS are read and not acted upon. What bounds memory is that a stream whose reader is slow
//! stops the connection's reader ([`STREAM_CHUNKS_MAX`]), and that writers wait for a place in one
//! bounded queue ([`OUTGOING_FRAMES_MAX`]); TCP carries the pressure to the peer.

mod compress;
mod connection;
mod dictionary;
mod frame;
mod headers;
mod link;
mod reader;
mod stream;
mod writer;

pub use connection::{
    CLOSING_TIME_MAX, Connection, ConnectionError, Incoming, LINGER_TIME_MAX, OpenError, client, server,
};
pub use frame::{CONTROL_LENGTH_MAX, FrameError, GoAwayStatus, ResetStatus, StreamId};
pub use headers::{HEADER_BYTES_MAX, HEADERS_MAX, Headers, HeadersError};
pub use link::{INCOMING_STREAMS_MAX, OUTGOING_FRAMES_MAX, STREAM_CHUNKS_MAX, STREAMS_MAX};
pub use stream::{DATA_LENGTH_MAX, Stream};
