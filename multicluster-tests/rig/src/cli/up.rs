//! `rig up` and `rig down`.

use std::time::Instant;

use super::arguments::{Down, Up};
use crate::{Lifetime, Options, Progress, Rig, state};

pub(super) async fn up(id: &str, asked: &Up) -> anyhow::Result<()> {
    let begin = Instant::now();
    let options = Options {
        id: id.to_owned(),
        clusters: asked.clusters,
        nodes: asked.nodes,
        reach: asked.network,
        lifetime: Lifetime::Kept,
    };
    let progress = Progress::spoken();
    let rig = tokio::select! {
        // What was begun is removed when the future is dropped.
        signal = interrupted() => anyhow::bail!("cut off by {}; what was begun is removed", signal?),
        rig = Rig::up(&options, &progress) => rig?,
    };
    print!("{}", reach(&rig, begin));
    Ok(())
}

/// How a person reaches the clusters.
fn reach(rig: &Rig, begin: Instant) -> String {
    let plan = rig.plan();
    let mut text = format!(
        "\nThe rig {} is up ({:.1} s): {} of {} nodes, {} networks.\n\n",
        plan.id(),
        begin.elapsed().as_secs_f32(),
        if plan.cluster_count() == 1 {
            "1 cluster".to_owned()
        } else {
            format!("{} clusters", plan.cluster_count())
        },
        plan.node_count(),
        plan.reach(),
    );
    for cluster in rig.clusters() {
        text += &format!("  export KUBECONFIG={}   # {}\n", cluster.kubeconfig().display(), cluster.name());
    }
    let id = if plan.id() == "main" { String::new() } else { format!(" --id {}", plan.id()) };
    text += &format!(
        "\n  cargo xtask rig{id} kubectl c1 get pods -A\n  \
         cargo xtask rig{id} exec client curl http://ADDRESS-OF-A-LOADBALANCER\n  \
         cargo xtask rig{id} status\n  \
         cargo xtask rig{id} down\n"
    );
    text
}

pub(super) fn down(id: &str, asked: &Down) -> anyhow::Result<()> {
    let ids = if asked.all { state::ids() } else { vec![id.to_owned()] };
    for id in ids {
        let begin = Instant::now();
        let was = state::Home::of(&id).folder().exists();
        Rig::remove(&id)?;
        match was {
            true => println!("The rig {id} is gone ({:.1} s).", begin.elapsed().as_secs_f32()),
            false => println!("There is no rig {id}; whatever might have been left of it is swept."),
        }
    }
    Ok(())
}

/// Waits for Ctrl-C or a request to end.
async fn interrupted() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut end = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended.map(|()| "Ctrl-C").map_err(Into::into),
        _ = end.recv() => Ok("SIGTERM"),
        _ = hangup.recv() => Ok("SIGHUP"),
    }
}
