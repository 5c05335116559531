//! Step 7: failover to the other cluster, and back.

use std::time::{Duration, Instant};

use super::scene::{ECHO, Scene, after, get, until, within};
use crate::demo::stage::Stage;

/// How long requests may be lost after a replica dies.
const FAILOVER_MAX: Duration = Duration::from_secs(1);

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let start = Instant::now();
    let before = get(&stage.planner, ECHO, &[], 10).await?;
    let one = start.elapsed() / 10;
    stage.application("echo-east")?.kill().await?;
    let killed = Instant::now();
    let moved = until(|| async {
        let answer = get(&stage.planner, ECHO, &[], 1).await;
        Ok(answer.is_ok_and(|answer| answer["answers"]["echo-west"] == 1))
    })
    .await?;
    let later = get(&stage.planner, ECHO, &[], 50).await?;
    let still = killed.elapsed();
    stage.application("echo-east")?.restart()?;
    let back = until(|| async {
        let answer = get(&stage.planner, ECHO, &[], 1).await?;
        Ok(answer["answers"]["echo-east"] == 1)
    })
    .await?;
    let ok = before["answers"]["echo-east"] == 10
        && within(moved, FAILOVER_MAX, one)
        && later["answers"]["echo-west"] == 50
        && back.is_some();
    Ok(Scene::new(
        ok,
        format!(
            "before: {}\nechoes of west after {}\nthe next 50 requests, {} ms after the kill: {}\nback in east after {}",
            before["answers"],
            after(moved),
            still.as_millis(),
            later["answers"],
            after(back),
        ),
        "the Service says strait.dev/failover: remote, so endpoints of the other cluster stand behind the local ones; \
         a connection that an endpoint does not take is tried on the next before anything was sent",
    ))
}
