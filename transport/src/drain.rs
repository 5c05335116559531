//! The end of a life of tunnels, in phases: accept no more, say GOAWAY, serve what remains, cut.

use std::time::Duration;

use crate::hbone::TunnelHandle;

/// The tunnels that a program has accepted. A clone is the same set.
#[derive(Debug, Clone, Default)]
pub struct Tunnels {}

/// What a drain ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Tunnels that ended by themselves.
    pub finished: usize,
    /// Tunnels that were cut at the end.
    pub cut: usize,
}

impl Tunnels {
    /// Adds a tunnel; one that comes while draining is told so at once.
    pub fn register(&self, tunnel: TunnelHandle) {
        let _ = tunnel;
        todo!()
    }

    /// Tells all tunnels to take no new streams (GOAWAY), waits until they have ended, at most `serve`, then cuts
    /// what is left. Whoever accepts stops doing so first.
    pub async fn drain(&self, serve: Duration) -> Drained {
        let _ = serve;
        todo!()
    }
}
