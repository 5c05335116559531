//! Waiting for what must become true, with an end.

use std::time::Duration;

/// How long something may take that must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(10);

/// Waits until `holds` does.
///
/// # Panics
/// When it does not within [`PATIENCE`].
#[track_caller]
pub fn until(what: impl Into<String>, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let (what, caller) = (what.into(), std::panic::Location::caller());
    async move {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(EVERY).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{caller}: waited {PATIENCE:?} in vain: {what}");
        }
    }
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not within [`PATIENCE`]; with what it said last.
#[track_caller]
pub fn until_some<T, E: std::fmt::Display>(
    what: impl Into<String>,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let (what, caller) = (what.into(), std::panic::Location::caller());
    async move {
        let mut last = "nothing was looked at".to_owned();
        let waiting = async {
            loop {
                match look().await {
                    Ok(found) => return found,
                    Err(why) => last = format!("{why:#}"),
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{caller}: waited {PATIENCE:?} in vain: {what}: {last}"),
        }
    }
}
