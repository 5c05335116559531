//! How fast pods come, and that a rig leaves nothing when it goes, whether taken down or found dead.

mod common;

use std::time::{Duration, Instant};

use anyhow::ensure;
use common::{said, skipped};
use rig::{Lifetime, Options, Progress, Reach, Rig, remains};

/// The variable that asks for more rounds than the usual ones.
const ROUNDS_VARIABLE: &str = "STRAIT_RIG_ROUNDS";
/// How many rounds are usual.
const ROUNDS: u32 = 3;
/// How long 24 pods may take on a machine that does other things too; on an idle one it is under 6 s.
const PODS_BOUND: Duration = Duration::from_secs(30);

/// 24 pods that answer.
const MANY: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 24
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: pause}]
"#;

fn options(id: &str) -> Options {
    Options { id: id.to_owned(), clusters: 1, nodes: 2, reach: Reach::Flat, lifetime: Lifetime::Dropped }
}

#[tokio::test]
async fn rounds_of_up_and_down_leave_nothing_behind() -> anyhow::Result<()> {
    if skipped("rounds_of_up_and_down_leave_nothing_behind") {
        return Ok(());
    }
    let rounds = std::env::var(ROUNDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let id = format!("r{}", std::process::id());
    for round in 1..=rounds {
        let begin = Instant::now();
        let rig = Rig::up(&options(&id), &Progress::silent()).await?;
        let up = begin.elapsed();
        let mut pods = String::new();
        if round == 1 {
            pods = format!(", 24 pods ready in {:.1} s", many(&rig).await?.as_secs_f32());
        }
        let begin = Instant::now();
        rig.down()?;
        let left = remains(&id);
        ensure!(left.is_empty(), "round {round} left:\n{}", left.join("\n"));
        println!(
            "round {round}: up {:.1} s{pods}, down {:.1} s",
            up.as_secs_f32(),
            begin.elapsed().as_secs_f32()
        );
    }
    Ok(())
}

async fn many(rig: &Rig) -> anyhow::Result<Duration> {
    let cluster = rig.cluster(1);
    let begin = Instant::now();
    cluster.apply("default", MANY).await?;
    said(cluster, "default", "rollout status deployment/many --timeout=60s").await?;
    let taken = begin.elapsed();
    ensure!(taken < PODS_BOUND, "24 pods took {taken:?}");
    Ok(taken)
}

#[tokio::test]
async fn programs_and_nodes_end_and_come_back() -> anyhow::Result<()> {
    if skipped("programs_and_nodes_end_and_come_back") {
        return Ok(());
    }
    let id = format!("k{}", std::process::id());
    let rig = Rig::up(&options(&id), &Progress::silent()).await?;
    let cluster = rig.cluster(1);
    rig.kill("c1-apiserver")?;
    ensure!(
        rig.check().is_err_and(|error| error.to_string().contains("c1-apiserver has ended")),
        "it is noticed"
    );
    ensure!(cluster.nodes_ready().await.is_err(), "a dead API server answers nobody");
    rig.restart("c1-apiserver")?;
    rig::until("nodes of the restarted API server", common::PATIENCE, || cluster.nodes_ready_are(2)).await?;
    // A node that loses power loses its pods; when it comes back, they run again.
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {nodeName: c1-n1, containers: [{name: main, \
               image: pause}]}\n";
    cluster.apply("default", pod).await?;
    said(cluster, "default", "wait --for=condition=Ready pod/one --timeout=60s").await?;
    rig.kill("c1-n1")?;
    rig.restart("c1-n1")?;
    rig::until("the pod's second life", common::PATIENCE, || async {
        let line = "get pod one -o jsonpath={.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}";
        anyhow::Ok(said(cluster, "default", line).await? == "1true")
    })
    .await?;
    let unknown = rig.kill("c1-nothing").err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(unknown.contains("there are: c1-apiserver"), "who mistypes is told the names: {unknown}");
    rig.down()?;
    ensure!(remains(&id).is_empty(), "{:?}", remains(&id));
    Ok(())
}
