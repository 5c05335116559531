//! Step 7: failover to the other cluster, and back.

use std::time::{Duration, Instant};

use super::scene::{ECHO, Scene, get, until};
use crate::demo::stage::Stage;

/// How long requests may be lost after a replica dies.
const FAILOVER_MAX: Duration = Duration::from_secs(1);
/// How long the return may take.
const RETURN_MAX: Duration = Duration::from_secs(10);

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let before = get(&stage.planner, ECHO, &[], 10).await?;
    stage.application("echo-east")?.kill().await?;
    let killed = Instant::now();
    let moved = until(FAILOVER_MAX, || async {
        let answer = get(&stage.planner, ECHO, &[], 1).await?;
        Ok(answer["answers"]["echo-west"] == 1)
    })
    .await?;
    let after = get(&stage.planner, ECHO, &[], 50).await?;
    let took = moved.map_or("never".to_owned(), |took| format!("{} ms", took.as_millis()));
    let still = killed.elapsed();
    stage.application("echo-east")?.restart()?;
    let back = until(RETURN_MAX, || async {
        let answer = get(&stage.planner, ECHO, &[], 1).await?;
        Ok(answer["answers"]["echo-east"] == 1)
    })
    .await?;
    let ok = before["answers"]["echo-east"] == 10
        && moved.is_some()
        && after["answers"]["echo-west"] == 50
        && back.is_some();
    Ok(Scene::new(
        ok,
        format!(
            "before: {}\nechoes of west after {took}\nthe next 50 requests, {} ms after the kill: {}\nback in east after {}",
            before["answers"],
            still.as_millis(),
            after["answers"],
            back.map_or("never".to_owned(), |took| format!("{} ms", took.as_millis())),
        ),
        "the Service says strait.dev/failover: remote, so endpoints of the other cluster stand behind the local ones; \
         a connection that an endpoint does not take is tried on the next before anything was sent",
    ))
}
