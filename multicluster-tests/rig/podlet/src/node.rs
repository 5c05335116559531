//! The Node object and its Lease.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
            NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::{cni::Chain, config::Config, inotify::Watch};

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// For how long it holds.
const LEASE_SECONDS: i32 = 40;
/// Pause after a failure, and between looks for a network that cannot be watched.
const RETRY: Duration = Duration::from_secs(1);
/// The version that the node says it has.
const KUBELET_VERSION: &str = "v1.37.2";

/// Registers the node and keeps it alive. Ends never.
pub async fn live(client: Client, config: Arc<Config>, chain: Chain) {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut ready = chain.network().map(|_| ()).map_err(|error| error.to_string());
    let since = Time(jiff::Timestamp::now());
    while let Err(error) = register(&nodes, &config, &ready, &since).await {
        tracing::warn!(%error, "cannot register the node");
        tokio::time::sleep(RETRY).await;
    }
    tracing::info!(node = config.node_name, "the node is registered");
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let mut files = Watch::files(&chain.config)
        .inspect_err(
            |error| tracing::warn!(%error, "the network's configuration is not watched, but looked at"),
        )
        .ok();
    let mut due = Instant::now();
    loop {
        if due <= Instant::now() {
            due = Instant::now() + RENEW;
            if let Err(error) = renew(&leases, &nodes, &config.node_name).await {
                tracing::warn!(%error, "cannot renew the node's lease");
                due = Instant::now() + RETRY;
            }
        }
        let now = chain.network().map(|_| ()).map_err(|error| error.to_string());
        let mut untold = false;
        if now.is_ok() != ready.is_ok() {
            let at = Time(jiff::Timestamp::now());
            let patch = json!({"status": {"conditions": conditions(&now, &at)}});
            let (params, patch) = (PatchParams::default(), Patch::Strategic(patch));
            match nodes.patch_status(&config.node_name, &params, &patch).await {
                Ok(_) => ready = now,
                Err(error) => {
                    untold = true;
                    tracing::warn!(%error, "cannot tell the node's condition");
                }
            }
        }
        let look = if untold || files.is_none() { due.min(Instant::now() + RETRY) } else { due };
        tokio::select! {
            () = tokio::time::sleep_until(look) => {}
            seen = changed(files.as_mut(), &chain.config) => if let Err(error) = seen {
                tracing::warn!(%error, "the network's configuration is not watched any more, but looked at");
                files = None;
            },
        }
    }
}

/// Waits for a change in a watched folder; for ever without a watch.
async fn changed(files: Option<&mut Watch>, folder: &std::path::Path) -> std::io::Result<()> {
    match files {
        Some(files) => files.changed(folder).await.map(|_| ()),
        None => std::future::pending().await,
    }
}

async fn register(
    nodes: &Api<Node>,
    config: &Config,
    ready: &Result<(), String>,
    since: &Time,
) -> kube::Result<()> {
    let node = node(config, ready, since);
    match nodes.create(&PostParams::default(), &node).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    let labels = json!({"metadata": {"labels": node.metadata.labels}});
    nodes.patch(&config.node_name, &PatchParams::default(), &Patch::Merge(labels)).await?;
    let status = json!({"status": node.status});
    nodes.patch_status(&config.node_name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}

fn node(config: &Config, ready: &Result<(), String>, since: &Time) -> Node {
    let name = &config.node_name;
    let mut labels = config.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch()),
    ] {
        labels.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    let capacity: BTreeMap<String, Quantity> = [
        ("cpu", config.cpus.to_string()),
        ("memory", format!("{}Gi", config.memory_gib)),
        ("ephemeral-storage", "100Gi".to_owned()),
        ("pods", config.max_pods.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), Quantity(value)))
    .into();
    let address = |kind: &str, text: String| NodeAddress { type_: kind.to_owned(), address: text };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    Node {
        metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus {
            addresses: Some(vec![
                address("InternalIP", config.node_address.to_string()),
                address("Hostname", name.clone()),
            ]),
            allocatable: Some(capacity.clone()),
            capacity: Some(capacity),
            conditions: Some(conditions(ready, since)),
            daemon_endpoints: Some(NodeDaemonEndpoints {
                kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
            }),
            images: Some(images(config)),
            node_info: Some(NodeSystemInfo {
                architecture: arch().to_owned(),
                boot_id: read("/proc/sys/kernel/random/boot_id"),
                container_runtime_version: "runc://1.1".to_owned(),
                kernel_version: read("/proc/sys/kernel/osrelease"),
                kubelet_version: KUBELET_VERSION.to_owned(),
                machine_id: name.clone(),
                operating_system: "linux".to_owned(),
                os_image: "Strait rig".to_owned(),
                system_uuid: name.clone(),
                ..NodeSystemInfo::default()
            }),
            ..NodeStatus::default()
        }),
    }
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn images(config: &Config) -> Vec<ContainerImage> {
    let entries = std::fs::read_dir(&config.images).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.map(|name| ContainerImage { names: Some(vec![name]), size_bytes: None }).collect()
}

fn conditions(ready: &Result<(), String>, since: &Time) -> Vec<NodeCondition> {
    let now = Time(jiff::Timestamp::now());
    let one = |kind: &str, yes: bool, reason: &str, message: &str| NodeCondition {
        type_: kind.to_owned(),
        status: if yes { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(since.clone()),
    };
    let ready = match ready {
        Ok(()) => one("Ready", true, "KubeletReady", "podlet is posting ready status"),
        Err(why) => one("Ready", false, "KubeletNotReady", why),
    };
    vec![
        one("MemoryPressure", false, "KubeletHasSufficientMemory", "nothing is measured"),
        one("DiskPressure", false, "KubeletHasNoDiskPressure", "nothing is measured"),
        one("PIDPressure", false, "KubeletHasSufficientPID", "nothing is measured"),
        ready,
    ]
}

async fn renew(leases: &Api<Lease>, nodes: &Api<Node>, name: &str) -> kube::Result<()> {
    let now = MicroTime(jiff::Timestamp::now());
    let patch = json!({"spec": {"renewTime": now}});
    match leases.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error),
    }
    // The lease goes with the node.
    let uid = nodes.get(name).await?.metadata.uid.unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid,
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    leases.create(&PostParams::default(), &lease).await.map(|_| ())
}
