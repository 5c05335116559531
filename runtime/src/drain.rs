//! How a program ends: phases that everything in it can watch, and guards that the end waits for.
//!
//! `Serving` → `Draining` (accept nothing new, announce the end to peers, go on with what runs) → `Closing`
//! (close what is left). Phases only move forward. What each phase means to a listener or a tunnel is theirs.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::watch;

/// Where a program is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It takes new work.
    Serving,
    /// It takes no new work; what runs goes on, under live configuration.
    Draining,
    /// The grace is over: what still runs closes now.
    Closing,
}

/// How a drain came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Everything that ran ended by itself within the grace.
    Complete,
    /// Some had to be closed, and did so in time.
    Closed {
        /// How many were still running when the grace was over.
        closed: usize,
    },
    /// Some did not end even when told to close.
    Abandoned {
        /// How many were left.
        left: usize,
    },
}

/// The program's end of its drain: it alone moves the phases. Clones move the same drain.
#[derive(Debug, Clone)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    // A guard is a receiver of this channel, so the channel counts them and tells when none is left.
    guards: Arc<watch::Sender<()>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// A drain in phase `Serving` with no guards.
    pub fn new() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)), guards: Arc::new(watch::Sender::new(())) }
    }

    /// What the parts of the program hold.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch { phase: self.phase.subscribe(), guards: Arc::clone(&self.guards) }
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Moves to `phase`, if it is later than the present one.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    /// How many guards are held.
    pub fn running(&self) -> usize {
        self.guards.receiver_count()
    }

    /// Drains: waits `grace` for what runs to end by itself, then tells it to close and waits `closing` for that.
    ///
    /// If the drain is already `Closing` (a second signal), the grace is skipped.
    pub async fn finish(&self, grace: Duration, closing: Duration) -> Drained {
        self.advance(Phase::Draining);
        let mut watch = self.watch();
        tokio::select! {
            () = self.guards.closed() => return Drained::Complete,
            () = tokio::time::sleep(grace) => {}
            () = watch.closing() => {}
        }
        let closed = self.running();
        if closed == 0 {
            return Drained::Complete;
        }
        self.advance(Phase::Closing);
        match tokio::time::timeout(closing, self.guards.closed()).await {
            Ok(()) => Drained::Closed { closed },
            Err(_) => Drained::Abandoned { left: self.running() },
        }
    }
}

/// A part's view of the drain. Works across runtimes and threads.
#[derive(Debug, Clone)]
pub struct DrainWatch {
    phase: watch::Receiver<Phase>,
    guards: Arc<watch::Sender<()>>,
}

/// Something that runs and that the drain waits for, while this value lives.
#[derive(Debug)]
pub struct DrainGuard {
    _counted: watch::Receiver<()>,
}

impl DrainWatch {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Counts something that runs: the drain waits until the guard is dropped.
    pub fn guard(&self) -> DrainGuard {
        DrainGuard { _counted: self.guards.subscribe() }
    }

    /// Waits until nothing new may be taken.
    pub async fn draining(&mut self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until what is left must close.
    pub async fn closing(&mut self) {
        self.reached(Phase::Closing).await;
    }

    /// Runs `work` under a guard until it ends by itself (its output) or must close (`None`).
    pub async fn run<F: Future>(mut self, work: F) -> Option<F::Output> {
        let _guard = self.guard();
        tokio::select! {
            output = work => Some(output),
            () = self.closing() => None,
        }
    }

    async fn reached(&mut self, phase: Phase) {
        // The drain itself being gone is an end too: nobody is left to say go on.
        let _ = self.phase.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);
    const CLOSING: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_drain_without_guards_is_over_at_once() {
        let drain = Drain::new();
        assert_eq!(drain.finish(GRACE, CLOSING).await, Drained::Complete);
        assert_eq!(drain.phase(), Phase::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_what_runs() {
        let drain = Drain::new();
        let guard = drain.watch().guard();
        let watch = drain.watch();
        let worker = tokio::spawn(async move {
            let mut watch = watch;
            watch.draining().await;
            tokio::time::sleep(GRACE / 2).await;
            drop(guard);
        });
        assert_eq!(drain.finish(GRACE, CLOSING).await, Drained::Complete);
        worker.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_in_the_grace_is_told_to_close() {
        let drain = Drain::new();
        let endless = tokio::spawn(drain.watch().run(std::future::pending::<()>()));
        tokio::task::yield_now().await;
        assert_eq!(drain.running(), 1);
        assert_eq!(drain.finish(GRACE, CLOSING).await, Drained::Closed { closed: 1 });
        assert_eq!(endless.await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_close_is_abandoned() {
        let drain = Drain::new();
        let _stuck = drain.watch().guard();
        let began = tokio::time::Instant::now();
        assert_eq!(drain.finish(GRACE, CLOSING).await, Drained::Abandoned { left: 1 });
        assert_eq!(began.elapsed(), GRACE + CLOSING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_skips_the_grace() {
        let drain = Drain::new();
        let _stuck = drain.watch().guard();
        drain.advance(Phase::Closing);
        let began = tokio::time::Instant::now();
        assert_eq!(drain.finish(GRACE, CLOSING).await, Drained::Abandoned { left: 1 });
        assert_eq!(began.elapsed(), CLOSING);
    }

    #[tokio::test]
    async fn phases_never_go_back() {
        let drain = Drain::new();
        drain.advance(Phase::Closing);
        drain.advance(Phase::Draining);
        assert_eq!(drain.watch().phase(), Phase::Closing);
    }

    #[tokio::test]
    async fn losing_the_drain_is_an_end() {
        let drain = Drain::new();
        let mut watch = drain.watch();
        drop(drain);
        watch.closing().await;
    }
}
