//! What pods ask of their node: hooks, volumes that change, deadlines, sidecars, ports of their own; and that
//! they live on when the node's podlet is replaced.

mod common;

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context, ensure};
use common::{PATIENCE, kubectl, said, skipped};
use rig::{Cluster, Lifetime, Options, Progress, Reach, Rig, remains, shared, until, until_some};
use tokio::io::{AsyncBufReadExt, BufReader};

/// What is told of containers: which life each is, how often it was started again, how it ended before.
const LIVES: &str = "get pods -o jsonpath={range.items[*]}{.metadata.name}|{.status.podIP}|\
    {.status.containerStatuses[0].containerID}|{.status.containerStatuses[0].restartCount}|\
    {.status.containerStatuses[0].lastState.terminated.exitCode}|{.status.containerStatuses[0].ready};{end}";

#[tokio::test]
async fn a_podlet_that_begins_anew_goes_on_with_its_containers() -> anyhow::Result<()> {
    if skipped("a_podlet_that_begins_anew_goes_on_with_its_containers") {
        return Ok(());
    }
    let id = format!("p{}", std::process::id());
    let options =
        Options { id: id.clone(), clusters: 1, nodes: 1, reach: Reach::Flat, lifetime: Lifetime::Dropped };
    let rig = Rig::up(&options, &Progress::silent()).await?;
    let cluster = rig.cluster(1);
    cluster.apply("default", include_str!("pods/restarted.yaml")).await?;
    said(cluster, "default", "wait --for=condition=Ready pod/talker pod/fallen --timeout=60s").await?;
    until("the second life of a fallen container", PATIENCE, || async {
        anyhow::Ok(lives(cluster).await?.contains("|1|3|true;"))
    })
    .await?;
    let before = lives(cluster).await?;
    rig.kill("c1-n1-podlet")?;
    said(cluster, "default", "patch configmap settings -p '{\"data\":{\"colour\":\"blue\"}}'").await?;
    rig.restart("c1-n1-podlet")?;
    // Its volumes are current again only when it has taken the pod over.
    until("the new colour", PATIENCE, || async {
        let seen = kubectl(cluster, "default", "exec talker -c main -- cat /settings/colour").await?;
        anyhow::Ok(seen.stdout == "blue")
    })
    .await?;
    let after = lives(cluster).await?;
    ensure!(before == after, "the containers are the same:\n{before}\n{after}");
    let log = said(cluster, "default", "logs talker -c main --tail=1 --since=2s").await?;
    ensure!(log == "tick\n", "the log goes on: {log:?}");
    said(cluster, "default", "delete pod talker fallen --wait --timeout=30s").await?;
    rig.down()?;
    ensure!(remains(&id).is_empty(), "{:?}", remains(&id));
    Ok(())
}

async fn lives(cluster: &Cluster) -> anyhow::Result<String> {
    said(cluster, "default", LIVES).await
}

#[tokio::test]
async fn pods_have_what_they_ask_for() -> anyhow::Result<()> {
    if skipped("pods_have_what_they_ask_for") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("asked").await?;
    let name = namespace.name();
    let folder = format!("/tmp/{name}");
    let objects = include_str!("pods/asked.yaml").replace("NODE", "c1-n1").replace("SHARED", &folder);
    cluster.apply(name, &objects).await?;
    let node = cluster.kubeconfig().with_file_name("n1").join("root");
    hooks(cluster, name, &node.join(folder.trim_start_matches('/'))).await.context("hooks")?;
    files(cluster, name).await.context("volumes")?;
    own_port(cluster, name).await.context("port-forward")?;
    slow_probe(cluster, name).await.context("a slow probe")?;
    phase(cluster, name, "aside", "Succeeded|").await.context("a sidecar ends after its pod's work")?;
    phase(cluster, name, "late", "Failed|DeadlineExceeded").await.context("a deadline")
}

/// A container is not told to run before postStart has ended, and preStop runs before its end.
async fn hooks(cluster: &Cluster, namespace: &str, shared: &Path) -> anyhow::Result<()> {
    until("a container that is up", PATIENCE, || async { anyhow::Ok(shared.join("up").exists()) }).await?;
    let state =
        "get pod hooks -o jsonpath={.status.phase}|{.status.containerStatuses[0].state.waiting.reason}";
    let told = said(cluster, namespace, state).await?;
    ensure!(told == "Pending|ContainerCreating", "it is told to be {told}");
    fs::write(shared.join("go"), "")?;
    said(cluster, namespace, "wait --for=condition=Ready pod/hooks --timeout=60s").await?;
    ensure!(!shared.join("stopped").exists(), "nothing has stopped it");
    said(cluster, namespace, "delete pod hooks --wait --timeout=30s").await?;
    ensure!(fs::read_to_string(shared.join("stopped"))? == "stopped\n", "preStop has run");
    Ok(fs::remove_dir_all(shared)?)
}

async fn files(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    said(cluster, namespace, "wait --for=condition=Ready pod/files --timeout=60s").await?;
    ensure!(said(cluster, namespace, "logs files").await?.trim() == "/dev/pts/0", "it has a terminal");
    let group = said(cluster, namespace, "exec files -- stat -c %g /empty").await?;
    ensure!(group == "4000\n", "the folder is of the pod's group: {group}");
    said(cluster, namespace, "patch configmap settings -p '{\"data\":{\"colour\":\"blue\"}}'").await?;
    until("the new colour", PATIENCE, || async {
        anyhow::Ok(said(cluster, namespace, "exec files -- cat /settings/colour").await? == "blue")
    })
    .await
}

/// What listens on a pod's loopback is reached by port-forward alone.
async fn own_port(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    said(cluster, namespace, "wait --for=condition=Ready pod/inner --timeout=60s").await?;
    let mut forward = cluster
        .kubectl_command(&["-n", namespace, "port-forward", "pod/inner", ":8099"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(forward.stdout.take().context("a pipe")?).lines();
    let line =
        tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("port-forward says where")?;
    let port = line.split(':').nth(1).and_then(|rest| rest.split(' ').next()).context("a port")?;
    let url = format!("http://127.0.0.1:{port}/");
    until_some("a page through the forwarded port", PATIENCE, || async {
        let output =
            tokio::process::Command::new("curl").args(["-sS", "--max-time", "3", &url]).output().await?;
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::Ok(page.contains("Directory listing").then_some(()))
    })
    .await?;
    Ok(forward.kill().await?)
}

/// What a probe started is gone when the probe has taken too long.
async fn slow_probe(cluster: &Cluster, namespace: &str) -> anyhow::Result<()> {
    let count = |what: &str| format!("exec slow -- sh -c '{what}'");
    until("a probe that was put four times", PATIENCE, || async {
        let asked = kubectl(cluster, namespace, &count("wc -l < /tmp/asked")).await?;
        anyhow::Ok(asked.stdout.trim().parse::<u32>().is_ok_and(|asked| asked >= 4))
    })
    .await?;
    // The pattern does not match the shell and the grep that hold it. A probe is two: a shell and what it runs.
    let left = said(cluster, namespace, &count("grep -al \"47[1]1\" /proc/[0-9]*/cmdline | wc -l")).await?;
    ensure!(left.trim().parse::<u32>()? <= 2, "no more than one probe runs, but {left} processes of them");
    Ok(())
}

async fn phase(cluster: &Cluster, namespace: &str, pod: &str, wanted: &str) -> anyhow::Result<()> {
    let line = format!("get pod {pod} -o jsonpath={{.status.phase}}|{{.status.reason}}");
    until(&format!("{pod} that is {wanted}"), PATIENCE, || async {
        anyhow::Ok(said(cluster, namespace, &line).await? == wanted)
    })
    .await
}
