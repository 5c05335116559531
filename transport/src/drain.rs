//! The end of a life of tunnels, in phases: accept no more, say GOAWAY, serve what remains, cut.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::hbone::TunnelHandle;

/// Tunnels after whose number the ended ones are looked for and let go.
const SWEEP_MIN: usize = 64;

/// The tunnels that a program has accepted. A clone is the same set.
#[derive(Debug, Clone, Default)]
pub struct Tunnels(Arc<Mutex<Set>>);

#[derive(Debug, Default)]
struct Set {
    tunnels: Vec<TunnelHandle>,
    sweep_at: usize,
    draining: bool,
}

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
        let mut set = self.0.lock();
        if set.draining {
            tunnel.drain();
        }
        if set.tunnels.len() >= set.sweep_at.max(SWEEP_MIN) {
            set.tunnels.retain(|tunnel| !tunnel.has_ended());
            set.sweep_at = set.tunnels.len() * 2;
        }
        set.tunnels.push(tunnel);
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.0.lock().tunnels.iter().filter(|tunnel| !tunnel.has_ended()).count()
    }

    /// Tells all tunnels to take no new streams (GOAWAY), waits until they have ended, at most `serve`, then cuts
    /// what is left. Whoever accepts stops doing so first.
    pub async fn drain(&self, serve: Duration) -> Drained {
        // Longer than the clock reaches is without end.
        let deadline = Instant::now().checked_add(serve);
        self.0.lock().draining = true;
        let mut drained = Drained { finished: 0, cut: 0 };
        // Tunnels that were still shaking hands come in while others are waited for.
        loop {
            let mut tunnels = std::mem::take(&mut self.0.lock().tunnels);
            if tunnels.is_empty() {
                return drained;
            }
            tunnels.retain(|tunnel| !tunnel.has_ended());
            tunnels.iter().for_each(TunnelHandle::drain);
            for tunnel in tunnels {
                let ended = match deadline {
                    Some(deadline) => timeout_at(deadline, tunnel.ended()).await.is_ok(),
                    None => {
                        tunnel.ended().await;
                        true
                    }
                };
                if ended {
                    drained.finished += 1;
                } else {
                    tunnel.cut();
                    drained.cut += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_may_be_given_all_the_time_there_is() {
        assert_eq!(Tunnels::default().drain(Duration::MAX).await, Drained { finished: 0, cut: 0 });
    }
}
