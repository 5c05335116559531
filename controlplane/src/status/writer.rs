//! Keeps the copy of the statuses on disk up to date.

use tokio::sync::watch;
use wire::publish::Publisher;

use super::Statuses;
use crate::serving::Serving;

/// Writes statuses on a thread of their own, the latest alone.
pub(crate) fn writer(statuses: Statuses, publisher: Publisher, serving: Serving) -> watch::Sender<()> {
    let (sender, mut receiver) = watch::channel(());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                changed = receiver.changed() => if changed.is_err() { return },
                () = serving.refusals() => {}
            }
            let (statuses, publisher) = (statuses.clone(), publisher.clone());
            let written = tokio::task::spawn_blocking(move || statuses.write(&publisher)).await;
            if let Ok(Err(cause)) = written {
                tracing::warn!(%cause, "the statuses cannot be written");
            }
        }
    });
    sender
}
