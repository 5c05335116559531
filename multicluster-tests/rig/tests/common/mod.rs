//! What the scenarios share: when they are skipped, and how they look at a cluster as a person does.

#![allow(dead_code, unreachable_pub, reason = "each scenario uses what it needs")]

use std::time::Duration;

use anyhow::{Context, bail};
use rig::{Answer, Cluster, Rig};

/// How long a workload may take to be ready: ten times what it takes on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this scenario is skipped: it says so by its name. `cargo xtask test` sets `STRAIT_RIG` where the rig's
/// programs are built.
pub fn skipped(name: &str) -> bool {
    let skipped = std::env::var_os("STRAIT_RIG").is_none();
    if skipped {
        eprintln!("skipped: {name}: the rig is not prepared; run it with: cargo xtask test --tier rig");
    }
    skipped
}

/// Splits words as a shell does, as far as these scenarios write them: blanks part, single quotes hold together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut begun) = (false, false);
    for one in line.chars() {
        match one {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(String::new());
                }
                begun = false;
            }
            other => {
                words.last_mut().expect("there is always a last").push(other);
                begun = true;
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Runs kubectl in a namespace.
pub async fn kubectl(cluster: &Cluster, namespace: &str, line: &str) -> anyhow::Result<Answer> {
    let mut all = vec!["-n".to_owned(), namespace.to_owned()];
    all.extend(words(line));
    cluster.kubectl(&all).await
}

/// Runs kubectl in a namespace, which must succeed, and returns what it printed.
pub async fn said(cluster: &Cluster, namespace: &str, line: &str) -> anyhow::Result<String> {
    kubectl(cluster, namespace, line).await?.ok().with_context(|| format!("kubectl {line}"))
}

/// Applies objects and waits until every Deployment, StatefulSet and DaemonSet among them is rolled out.
pub async fn roll_out(cluster: &Cluster, namespace: &str, objects: &str) -> anyhow::Result<()> {
    let applied = cluster.apply(namespace, objects).await?;
    for line in applied.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        if ["deployment.apps/", "statefulset.apps/", "daemonset.apps/"]
            .iter()
            .any(|kind| name.starts_with(kind))
        {
            let waited = kubectl(cluster, namespace, &format!("rollout status {name} --timeout=60s")).await?;
            if waited.code != Some(0) {
                let pods = said(cluster, namespace, "get pods -o wide").await.unwrap_or_default();
                let events = said(cluster, namespace, "get events").await.unwrap_or_default();
                bail!("{name} is not rolled out: {}{}\n{pods}\n{events}", waited.stdout, waited.stderr);
            }
        }
    }
    Ok(())
}

/// Runs a program in a place of the rig and returns what it printed; an error holds what it said.
pub async fn run_in(rig: &Rig, place: &str, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = rig.command_in(place, program)?;
    command.args(arguments);
    let output = tokio::process::Command::from(command).output().await?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    bail!(
        "{program} {arguments:?} in {place}: {}{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Fetches a page from a place of the rig.
pub async fn fetch(rig: &Rig, place: &str, url: &str) -> anyhow::Result<String> {
    run_in(rig, place, "curl", &["-sS", "--fail", "--max-time", "3", url]).await
}
