//! How long parts of an exchange may take.

use tokio::time::Instant;

use crate::waypoint::Waypoint;

/// Until when a body that is held must have arrived.
pub(super) fn held_until(deadline: Option<Instant>, waypoint: &Waypoint) -> Instant {
    let until = Instant::now() + waypoint.limits.held_timeout;
    deadline.map_or(until, |deadline| deadline.min(until))
}

/// What comes of the work, if it comes in time.
pub(super) async fn within<F: Future>(deadline: Option<Instant>, work: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
