//! The WAN between clusters, measured: what is asked is what packets meet.

mod common;

use std::time::Duration;

use anyhow::{Context, ensure};
use common::{run_in, skipped};
use rig::{Lifetime, Options, Progress, Reach, Rig, until};
use rig_network::wan::Shape;

/// What ping measured: the share that came back, and the mean round trip in milliseconds.
struct Pinged {
    lost: f64,
    mean: f64,
}

/// A rig of its own, because what it does to the WAN would be felt by others.
async fn two_clusters(id: &str, reach: Reach) -> anyhow::Result<Rig> {
    let options = Options { id: id.to_owned(), clusters: 2, nodes: 1, reach, lifetime: Lifetime::Dropped };
    Rig::up(&options, &Progress::spoken()).await
}

#[tokio::test]
async fn packets_meet_the_wan_that_was_asked_for() -> anyhow::Result<()> {
    if skipped("packets_meet_the_wan_that_was_asked_for") {
        return Ok(());
    }
    let rig = two_clusters(&format!("w{}", std::process::id()), Reach::Flat).await?;
    let there = "10.52.0.11";
    let before = ping(&rig, there, 20, "0.02").await?;
    ensure!(before.lost == 0.0 && before.mean < 5.0, "untouched: {} ms", before.mean);

    rig.wan_both(1, 2, &Shape { delay: Duration::from_millis(25), ..Shape::default() })?;
    let slow = ping(&rig, there, 40, "0.05").await?;
    println!("25 ms each way: {:.2} ms", slow.mean);
    ensure!((slow.mean - 50.0).abs() <= 2.0, "25 ms each way are {} ms there and back", slow.mean);

    // 2 % of one way's packets: of 3000, 60 ± 3 standard deviations (23).
    rig.wan_both(1, 2, &Shape::default())?;
    rig.wan(1, 2, &Shape { loss: 0.02, ..Shape::default() })?;
    let lossy = ping(&rig, there, 3000, "0.002").await?;
    println!("2 % asked: {:.2} % lost", lossy.lost * 100.0);
    ensure!((0.012..=0.028).contains(&lossy.lost), "2 % asked, {} lost", lossy.lost);

    rig.wan(1, 2, &Shape { partition: true, ..Shape::default() })?;
    let cut = ping(&rig, there, 5, "0.02").await?;
    ensure!(cut.lost == 1.0, "nothing passes a partition");
    rig.wan_both(1, 2, &Shape::default())?;
    let healed = ping(&rig, there, 10, "0.02").await?;
    ensure!(healed.lost == 0.0, "healed at once: {} lost", healed.lost);
    rig.down()
}

#[tokio::test]
async fn of_separate_networks_only_gateways_are_reached() -> anyhow::Result<()> {
    if skipped("of_separate_networks_only_gateways_are_reached") {
        return Ok(());
    }
    let rig = two_clusters(&format!("x{}", std::process::id()), Reach::Separate).await?;
    let far = rig.cluster(2);
    common::roll_out(far, "default", include_str!("kubectl/web.yaml")).await?;
    let outside = "expose deployment web --name=outside --type=LoadBalancer --port=80 --target-port=3000";
    common::said(far, "default", outside).await?;
    until("a page of the far cluster by its load balancer", common::PATIENCE, || async {
        let found = "get svc outside -o jsonpath={.status.loadBalancer.ingress[0].ip}";
        let address = common::said(far, "default", found).await?;
        anyhow::Ok(
            !address.is_empty()
                && common::fetch(&rig, "c1-n1", &format!("http://{address}/health")).await.is_ok(),
        )
    })
    .await?;
    let pods = |cluster: u8| rig.plan().cluster(cluster).map(|cluster| cluster.pods());
    ensure!(pods(1) == pods(2), "the pods' ranges overlap");
    // Neither the far cluster's node nor its API server is reached; the own ones are.
    ensure!(
        ping(&rig, "10.52.0.11", 2, "0.02").await?.lost == 1.0,
        "a node of another network is out of reach"
    );
    let api =
        run_in(&rig, "c1-n1", "curl", &["-sk", "--max-time", "2", "https://10.52.0.2:6443/readyz"]).await;
    ensure!(api.is_err(), "an API server of another network is out of reach: {api:?}");
    let own =
        run_in(&rig, "c1-n1", "curl", &["-sk", "--max-time", "2", "https://10.51.0.2:6443/readyz"]).await?;
    ensure!(!own.is_empty(), "the own API server answers");
    rig.down()
}

async fn ping(rig: &Rig, to: &str, count: u32, every: &str) -> anyhow::Result<Pinged> {
    let count = count.to_string();
    let mut command = rig.command_in("c1-n1", "ping")?;
    command.args(["-q", "-n", "-c", &count, "-i", every, "-W", "1", to]);
    let output = tokio::process::Command::from(command).output().await.context("ping is not installed")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = text.lines().find(|line| line.contains("packets transmitted")).context(text.clone())?;
    let numbers: Vec<f64> =
        counts.split(',').filter_map(|part| part.split_whitespace().next()?.parse().ok()).collect();
    let [sent, back, ..] = numbers.as_slice() else { anyhow::bail!("ping said {text}") };
    let mean = text.lines().find(|line| line.starts_with("rtt")).and_then(|line| line.split('/').nth(4));
    Ok(Pinged {
        lost: 1.0 - back / sent,
        mean: mean.and_then(|mean| mean.parse().ok()).unwrap_or(f64::INFINITY),
    })
}
