//! Step 15: what a policy would refuse, before it refuses anything.

use std::{cell::Cell, fs};

use serde_json::{Value, json};

use super::scene::{PLANNER, Scene, after, call, until};
use crate::demo::{command::strait, stage::Stage};

/// The policy, as it is tried.
const POLICY: &str = "\
apiVersion: strait.dev/v1alpha1
kind: AccessPolicy
metadata: {name: no-reading, namespace: tools}
spec:
  targetRefs: [{group: \"\", kind: Service, name: tools, sectionName: mcp}]
  mode: Audit
  action: Deny
  rules:
  - name: planner-reads
    from: [{trustDomain: east.demo, serviceAccounts: [agents/planner]}]
    to: [{mcp: {tools: [{names: [read_file]}]}}]
";
const NAME: &str = "tools/no-reading";
/// How many reads the audit must have seen, and how often planner searches while the policy is in audit mode.
const READS: u64 = 5;
const SEARCHES: u64 = 3;

pub(super) async fn run(stage: &mut Stage) -> anyhow::Result<Scene> {
    let state = stage.west.state();
    let state = state.as_os_str();
    // In a folder that nobody watches: not applied.
    let draft = stage.west.folder.join("no-reading.yaml");
    fs::write(&draft, POLICY.replace("mode: Audit", "mode: Enforce"))?;
    read(stage).await?;
    until(|| async { Ok(would_refuse(&attempt(&draft, state).await?) > 0) }).await?;
    let tried = would_refuse(&attempt(&draft, state).await?);

    let file = stage.west.files().join("no-reading.yaml");
    fs::write(&file, POLICY)?;
    let listed = until(|| async {
        let policies = stage.west.page("/v1/policies").await?;
        let proxies = stage.west.page("/v1/proxies").await?;
        let current = proxies.as_array().is_some_and(|rows| rows.iter().all(|row| row["current"] == true));
        Ok(policies.to_string().contains("no-reading") && current)
    })
    .await?;
    for _ in 0..SEARCHES {
        call(&stage.planner, "search", json!({ "repo": "docs", "query": "mesh" })).await?;
    }
    // The proxies may judge by it a moment later than the control plane told them, and tell it some seconds later.
    let (reads, served) = (Cell::new(0_u64), Cell::new(0_u64));
    let told = until(|| async {
        served.set(served.get() + u64::from(read(stage).await?));
        reads.set(reads.get() + 1);
        Ok(counted(&audit(state).await?) >= READS)
    })
    .await?;
    let (reads, served) = (reads.get(), served.get());
    let audited = audit(state).await?;
    let who = audited[0]["source"].as_str().unwrap_or("nobody").to_owned();
    let rows = audited.as_array().cloned().unwrap_or_default();
    let only_reads =
        (READS..=reads).contains(&counted(&audited)) && rows.iter().all(|row| row["object"] == "read_file");

    fs::write(&file, POLICY.replace("mode: Audit", "mode: Enforce"))?;
    let enforced = until(|| async { Ok(!read(stage).await?) }).await?;
    let search = call(&stage.planner, "search", json!({ "repo": "docs", "query": "mesh" })).await?;
    let search = search["message"]["result"].is_object();
    fs::remove_file(&file)?;
    let restored = until(|| async { read(stage).await }).await?;
    let ok = tried > 0
        && listed.is_some()
        && served == reads
        && told.is_some()
        && only_reads
        && who.contains(PLANNER)
        && enforced.is_some()
        && search
        && restored.is_some();
    Ok(Scene::new(
        ok,
        format!(
            "strait try: of the calls so far, {tried} would be refused\n\
             in audit mode: {served} of {reads} calls of read_file answered; strait audit {NAME}: {} of {who} would \
             have been refused{}\n\
             enforced: read_file refused after {}, search {}",
            counted(&audited),
            if only_reads { ", nothing else" } else { "" },
            after(enforced),
            if search { "as before" } else { "REFUSED TOO" },
        ),
        "proxies decide by every policy and tell what they decided; one in audit mode is told of and refuses nobody, \
         and the control plane judges what it remembers of a day by a policy that is not applied yet",
    ))
}

/// Whether planner may read.
async fn read(stage: &Stage) -> anyhow::Result<bool> {
    let answer = call(&stage.planner, "read_file", json!({ "repo": "docs", "path": "a" })).await?;
    Ok(answer["message"]["result"].is_object())
}

async fn attempt(file: &std::path::Path, state: &std::ffi::OsStr) -> anyhow::Result<Value> {
    let [verb, flag, at, output, json] = ["try", "--file", "--state", "--output", "json"].map(str::as_ref);
    Ok(serde_json::from_str(&strait(&[verb, flag, file.as_os_str(), at, state, output, json]).await?)?)
}

fn would_refuse(tried: &Value) -> u64 {
    let changes = tried["changes"].as_array().into_iter().flatten();
    let refused =
        changes.filter(|row| row["would_be"] == "refused" && row["object"] == "read_file" && at_service(row));
    refused.filter_map(|row| row["count"].as_u64()).sum()
}

async fn audit(state: &std::ffi::OsStr) -> anyhow::Result<Value> {
    let [verb, name, at, output, json] = ["audit", NAME, "--state", "--output", "json"].map(str::as_ref);
    Ok(serde_json::from_str(&strait(&[verb, name, at, state, output, json]).await?)?)
}

fn counted(audited: &Value) -> u64 {
    audited
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| at_service(row))
        .filter_map(|row| row["count"].as_u64())
        .sum()
}

/// A call is decided for the service and for its endpoint; here it counts once.
fn at_service(row: &Value) -> bool {
    row["destination"].as_str().is_some_and(|name| name.starts_with("tools.tools.svc."))
}
