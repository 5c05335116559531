//! `rig status`.

use std::fs;

use serde_json::json;

use super::arguments::{Output, Status};
use crate::{Process, Rig, state};

/// One rig as it is.
struct Found {
    record: state::Record,
    processes: Vec<(Process, bool, u64)>,
    nodes: Vec<(String, Result<usize, String>)>,
}

pub(super) async fn status(_id: &str, asked: &Status) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for id in state::ids() {
        // One that is being removed cannot be read.
        if let Ok(found) = look(&id).await {
            all.push(found);
        }
    }
    match asked.output {
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&all.iter().map(as_json).collect::<Vec<_>>())?)
        }
        Output::Text if all.is_empty() => println!("No rig is up. Start one with: cargo xtask rig up"),
        Output::Text => all.iter().for_each(print),
    }
    Ok(())
}

async fn look(id: &str) -> anyhow::Result<Found> {
    let home = state::Home::of(id);
    let record = home.read()?;
    let processes = home.processes().list().into_iter().map(|process| {
        let alive = process.identity.is_alive();
        let memory = if alive { resident(process.identity.pid) } else { 0 };
        (process, alive, memory)
    });
    let processes = processes.collect();
    let mut nodes = Vec::new();
    if record.ready && record.nodes > 0 {
        let rig = Rig::attach(id).await?;
        for cluster in rig.clusters() {
            let ready = cluster.nodes_ready().await.map_err(|error| format!("{error:#}"));
            nodes.push((cluster.name(), ready));
        }
    }
    Ok(Found { record, processes, nodes })
}

/// MiB of memory that a process holds.
fn resident(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn print(found: &Found) {
    let record = &found.record;
    let state = if record.ready { "up" } else { "coming up, or cut off" };
    println!(
        "rig {}: {state}, {} cluster(s) of {} node(s), {} networks",
        record.id, record.clusters, record.nodes, record.reach
    );
    for (name, ready) in &found.nodes {
        match ready {
            Ok(ready) => println!("  {name}: {ready} of {} nodes ready", record.nodes),
            Err(error) => println!("  {name}: does not answer: {error}"),
        }
    }
    for (process, alive, memory) in &found.processes {
        let state = if *alive { "runs" } else { "ENDED" };
        println!("  {:<24} {state:<6} pid {:<8} {memory:>5} MiB", process.launch.name, process.identity.pid);
    }
}

fn as_json(found: &Found) -> serde_json::Value {
    json!({
        "id": found.record.id,
        "ready": found.record.ready,
        "clusters": found.record.clusters,
        "nodes": found.record.nodes,
        "network": found.record.reach,
        "nodesReady": found.nodes.iter().map(|(name, ready)| json!({
            "cluster": name, "ready": ready.as_ref().ok(), "error": ready.as_ref().err(),
        })).collect::<Vec<_>>(),
        "programs": found.processes.iter().map(|(process, alive, memory)| json!({
            "name": process.launch.name, "pid": process.identity.pid, "running": alive, "memoryMiB": memory,
            "namespace": process.launch.namespace,
        })).collect::<Vec<_>>(),
    })
}
