//! A person's day with kubectl and helm: everyday commands against a cluster of the rig, with the answers that a
//! person expects.

mod common;

use std::{process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use common::{PATIENCE, kubectl, said, skipped};
use rig::{Cluster, shared, until_some};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How a command ends.
#[derive(Clone, Copy)]
enum Ends {
    Well,
    With(i32),
}
use Ends::{Well, With};

/// The session: what is typed, how it ends, and words that the answer holds.
const SESSION: &[(&str, Ends, &[&str])] = &[
    ("version", Well, &["Client Version: v1.37", "Server Version: v1.37"]),
    ("cluster-info", Well, &["is running at https://127.0.0.1:"]),
    ("get nodes", Well, &["c1-n1", "c1-n2", "Ready"]),
    ("describe node c1-n1", Well, &["InternalIP", "KubeletReady", "10.51.0.11"]),
    ("api-resources --api-group=apps", Well, &["deployments", "statefulsets"]),
    ("explain deployment.spec.replicas", Well, &["desired pods"]),
    ("auth can-i create deployments", Well, &["yes"]),
    ("auth can-i get secrets --as=nobody", With(1), &["no"]),
    ("apply -f tests/kubectl/web.yaml", Well, &["configmap/greeting created", "deployment.apps/web created"]),
    ("apply -f tests/kubectl/web.yaml", Well, &["configmap/greeting unchanged", "service/web unchanged"]),
    ("diff -f tests/kubectl/web.yaml", Well, &[]),
    ("rollout status deployment/web --timeout=60s", Well, &["successfully rolled out"]),
    ("get pods -l app=web -o wide", Well, &["1/1", "Running", "10.11."]),
    ("get deployment web -o jsonpath={.status.readyReplicas}", Well, &["2"]),
    ("describe deployment web", Well, &["2 desired", "2 available", "ScalingReplicaSet"]),
    ("get endpointslices -l kubernetes.io/service-name=web", Well, &["3000", "10.11."]),
    ("scale deployment web --replicas=3", Well, &["scaled"]),
    ("set env deployment/web COLOUR=green", Well, &["env updated"]),
    ("rollout status deployment/web --timeout=60s", Well, &["successfully rolled out"]),
    ("rollout undo deployment/web", Well, &["rolled back"]),
    ("rollout status deployment/web --timeout=60s", Well, &["successfully rolled out"]),
    ("rollout history deployment/web", Well, &["REVISION", "3"]),
    (
        "run shell --image=debian --restart=Never --grace-period=1 -- sh -c 'echo hello; exec sleep 3600'",
        Well,
        &["pod/shell created"],
    ),
    ("wait --for=condition=Ready pod/shell --timeout=60s", Well, &["condition met"]),
    ("logs shell", Well, &["hello"]),
    ("logs shell --timestamps --since-time=2020-01-01T00:00:00Z", Well, &["Z hello"]),
    ("logs shell --since-time=2049-01-01T00:00:00Z", Well, &[""]),
    ("logs shell --tail=1 --prefix", Well, &["[pod/shell/shell] hello"]),
    ("exec shell -- hostname", Well, &["shell"]),
    ("exec shell -- sh -c 'echo out; echo err >&2'", Well, &["out", "err"]),
    ("exec shell -- sh -c 'exit 7'", With(7), &["exit code 7"]),
    ("exec shell -- cat /etc/resolv.conf", Well, &["search ", "svc.cluster.local", "nameserver 10.111.0.10"]),
    ("cp tests/kubectl/web.yaml shell:/tmp/web.yaml", Well, &[]),
    ("exec shell -- grep -c kind: /tmp/web.yaml", Well, &["3"]),
    ("label pod shell colour=blue", Well, &["labeled"]),
    ("annotate pod shell note=seen", Well, &["annotated"]),
    ("get pods -l colour=blue -o name", Well, &["pod/shell"]),
    ("create configmap settings --from-literal=a=b", Well, &["created"]),
    ("get configmap settings -o jsonpath={.data.a}", Well, &["b"]),
    ("create secret generic password --from-literal=p=q", Well, &["created"]),
    ("get secret password -o jsonpath={.data.p}", Well, &["cQ=="]),
    ("create job once --image=debian -- sh -c 'echo done; exit 0'", Well, &["created"]),
    ("wait --for=condition=complete job/once --timeout=60s", Well, &["condition met"]),
    ("logs job/once", Well, &["done"]),
    ("patch deployment web -p '{\"spec\":{\"replicas\":1}}'", Well, &["patched"]),
    ("expose deployment web --name=other --port=81 --target-port=3000", Well, &["exposed"]),
    ("get events --field-selector involvedObject.name=shell", Well, &["Scheduled", "Started"]),
    ("get pods nobody", With(1), &["NotFound"]),
    ("create configmap settings --from-literal=a=c", With(1), &["already exists"]),
    ("delete pod shell --grace-period=1 --wait --timeout=30s", Well, &["deleted"]),
    ("get pod shell", With(1), &["NotFound"]),
    ("delete -f tests/kubectl/web.yaml --wait --timeout=30s", Well, &["deleted"]),
];

#[tokio::test]
async fn everyday_commands_of_kubectl_answer_as_a_person_expects() -> anyhow::Result<()> {
    if skipped("everyday_commands_of_kubectl_answer_as_a_person_expects") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("kubectl").await?;
    let mut faults = Vec::new();
    for (line, ends, holds) in SESSION {
        let answer = kubectl(cluster, namespace.name(), line).await?;
        let all = format!("{}{}", answer.stdout, answer.stderr);
        let code = match ends {
            Well => 0,
            With(code) => *code,
        };
        let missing: Vec<_> = holds.iter().filter(|words| !all.contains(**words)).collect();
        if answer.code != Some(code) || !missing.is_empty() {
            faults.push(format!(
                "$ kubectl {line}\n  ended {:?}, wanted {code}; missing {missing:?}; said:\n{all}",
                answer.code
            ));
        }
    }
    ensure!(SESSION.len() >= 30, "a day has thirty commands");
    ensure!(
        faults.is_empty(),
        "{} of {} commands failed:\n{}",
        faults.len(),
        SESSION.len(),
        faults.join("\n")
    );
    println!("{} commands of kubectl", SESSION.len());
    Ok(())
}

#[tokio::test]
async fn logs_are_followed_and_standard_input_reaches_a_program() -> anyhow::Result<()> {
    if skipped("logs_are_followed_and_standard_input_reaches_a_program") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("follow").await?;
    let name = namespace.name();
    said(
        cluster,
        name,
        "run talker --image=debian --restart=Never -- sh -c 'mkfifo /tmp/pipe; exec cat 0<>/tmp/pipe'",
    )
    .await?;
    said(cluster, name, "wait --for=condition=Ready pod/talker --timeout=60s").await?;
    let mut follower =
        cluster.kubectl_command(&["-n", name, "logs", "-f", "talker"]).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(follower.stdout.take().context("a pipe")?).lines();
    let answer = cluster
        .kubectl_with(&["-n", name, "exec", "-i", "talker", "--", "sh", "-c", "tee /tmp/pipe"], "one\ntwo\n")
        .await?;
    ensure!(answer.clone().ok()? == "one\ntwo\n", "exec -i gives back what it got: {answer:?}");
    for wanted in ["one", "two"] {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??;
        ensure!(line.as_deref() == Some(wanted), "the followed log says {line:?}, not {wanted}");
    }
    said(cluster, name, "delete pod talker --grace-period=1 --wait --timeout=30s").await?;
    let ended = tokio::time::timeout(PATIENCE, follower.wait()).await??;
    ensure!(ended.success(), "logs -f ends when the container ends: {ended}");
    Ok(())
}

#[tokio::test]
async fn a_port_is_forwarded_to_a_service() -> anyhow::Result<()> {
    if skipped("a_port_is_forwarded_to_a_service") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("forward").await?;
    common::roll_out(cluster, namespace.name(), include_str!("kubectl/web.yaml")).await?;
    let mut forward = cluster
        .kubectl_command(&["-n", namespace.name(), "port-forward", "service/web", ":80"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(forward.stdout.take().context("a pipe")?).lines();
    let line =
        tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("port-forward says where")?;
    let port = line.split(':').nth(1).and_then(|rest| rest.split(' ').next()).context("a port")?;
    for _ in 0..3 {
        let page = page(port).await?;
        ensure!(
            page.contains(&format!("\"namespace\": \"{}\"", namespace.name())),
            "the pod answers: {page}"
        );
    }
    forward.kill().await?;
    Ok(())
}

async fn page(port: &str) -> anyhow::Result<String> {
    until_some("a page through the forwarded port", Duration::from_secs(10), || async {
        let url = format!("http://127.0.0.1:{port}/");
        let output =
            tokio::process::Command::new("curl").args(["-sS", "--max-time", "3", &url]).output().await?;
        anyhow::Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
    })
    .await
}

#[tokio::test]
async fn a_small_chart_is_installed_upgraded_and_uninstalled_by_helm() -> anyhow::Result<()> {
    if skipped("a_small_chart_is_installed_upgraded_and_uninstalled_by_helm") {
        return Ok(());
    }
    let rig = shared().await?;
    let cluster = rig.cluster(1);
    let namespace = cluster.namespace("helm").await?;
    let name = namespace.name();
    let installed = helm(cluster, name, "install hello tests/chart --wait --timeout 60s").await?;
    ensure!(installed.contains("STATUS: deployed") && installed.contains("says \"hello\""), "{installed}");
    ensure!(helm(cluster, name, "list").await?.contains("hello-0.1.0"), "the release is listed");
    let word = "exec deploy/hello -- curl -sS --max-time 3 http://hello";
    ensure!(said(cluster, name, word).await? == "hello", "the page is served by the Service's name");
    helm(cluster, name, "upgrade hello tests/chart --set word=bye,replicas=2 --wait --timeout 60s").await?;
    ensure!(
        said(cluster, name, "get deploy hello -o jsonpath={.status.readyReplicas}").await? == "2",
        "two pods"
    );
    let pages = until_some("the new page", PATIENCE, || async {
        let page = said(cluster, name, word).await?;
        anyhow::Ok((page == "bye").then_some(page))
    });
    pages.await?;
    helm(cluster, name, "uninstall hello --wait --timeout 60s").await?;
    ensure!(said(cluster, name, "get deploy -o name").await?.is_empty(), "nothing is left");
    Ok(())
}

async fn helm(cluster: &Cluster, namespace: &str, line: &str) -> anyhow::Result<String> {
    let mut all = vec!["-n".to_owned(), namespace.to_owned()];
    all.extend(common::words(line));
    cluster.helm(&all).await?.ok().with_context(|| format!("helm {line}"))
}
