//! Opens tunnels, and streams in them.

use mesh::names::Network;

use crate::hbone::{Authority, Origin};

/// What we say when we open a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Where it shall go.
    pub authority: Authority,
    /// `x-strait-origin`: only from a voucher.
    pub origin: Option<Origin>,
    /// `forwarded`.
    pub forwarded: Option<String>,
    /// `baggage`.
    pub baggage: Option<String>,
    /// `x-forwarded-network`.
    pub network: Option<Network>,
    /// `traceparent`.
    pub trace: Option<String>,
}

impl ConnectRequest {
    /// Says where to go, and nothing else.
    pub fn to(authority: Authority) -> Self {
        Self { authority, origin: None, forwarded: None, baggage: None, network: None, trace: None }
    }
}
