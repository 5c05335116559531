//! Waits for what comes about elsewhere: asks again, at first often, then less, until it is there or time is up.

use std::{
    fmt::Display,
    future::Future,
    time::{Duration, Instant},
};

use anyhow::bail;

/// How long to wait before the second question.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// How long to wait at most between two questions.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Asks until the answer is a value. `what` completes the sentence "… did not come about".
///
/// # Errors
/// When `patience` is over: with `what`, and with the last error if the question itself failed.
pub async fn until_some<T, F, E>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<T>
where
    F: Future<Output = Result<Option<T>, E>>,
    E: Display,
{
    let begin = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let failure = match ask().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if begin.elapsed() > patience {
            match failure {
                Some(error) => bail!("{what} did not come about within {patience:?}: {error:#}"),
                None => bail!("{what} did not come about within {patience:?}"),
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

/// Asks until the answer is yes.
///
/// # Errors
/// As [`until_some`].
pub async fn until<F, E>(what: &str, patience: Duration, mut ask: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<bool, E>>,
    E: Display,
{
    until_some(what, patience, || {
        let answer = ask();
        async move { answer.await.map(|yes| yes.then_some(())) }
    })
    .await
}
