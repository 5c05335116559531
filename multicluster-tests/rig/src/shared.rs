//! The rig that all tests of a run share: brought up by the first that asks, ended after the last.

use crate::{
    Lifetime, Options, Progress, Reach, Rig,
    guard::{self, Turn},
};

/// The id of the shared rig.
pub(crate) const SHARED_ID: &str = "tests";

/// Two flat clusters of two nodes, shared with every other test. Take a namespace of your own in it; a test that
/// breaks things brings up a rig of its own.
///
/// # Errors
/// When it cannot be brought up.
pub async fn shared() -> anyhow::Result<Rig> {
    let _turn = tokio::task::spawn_blocking(|| Turn::wait(SHARED_ID)).await??;
    guard::join(SHARED_ID)?;
    if let Ok(rig) = Rig::attach(SHARED_ID).await
        && rig.check().is_ok()
    {
        return Ok(rig);
    }
    let options = Options {
        id: SHARED_ID.to_owned(),
        clusters: 2,
        nodes: 2,
        reach: Reach::Flat,
        lifetime: Lifetime::Guarded,
    };
    Rig::up(&options, &Progress::spoken()).await
}
