//! One node: its folder, its podlet, its kube-proxy.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::Context;
use rig_network::plan::NodePlan;
use serde_json::json;

use crate::{
    certs::Authority,
    kubeconfig,
    process::{Launch, Process, Processes},
    programs::{Programs, own},
    state::write_whole,
};

/// How long kube-proxy may gather changes before it writes them: its default of a second would be felt by tests.
const PROXY_SYNC_MIN: &str = "50ms";
/// The first pause before a container that fell is started again, in milliseconds: a tenth of the kubelet's.
const CRASH_BACKOFF_MS: u64 = 1_000;

/// Lays out a node's folder: certificates, configuration, CNI.
pub(crate) fn prepare(
    node: &NodePlan<'_>,
    server: &str,
    authority: &Authority,
    programs: &Programs,
) -> anyhow::Result<()> {
    let name = node.name();
    lay_out(&node.root())?;
    let conflist = serde_json::to_vec_pretty(&rig_network::cni::conflist(node))?;
    write_whole(&node.root().join("etc/cni/net.d/10-rig.conflist"), &conflist)?;
    let plugin = node.root().join("opt/cni/bin").join(rig_network::cni::PLUGIN);
    let built = own(rig_network::cni::PLUGIN)?;
    fs::copy(&built, &plugin)
        .with_context(|| format!("cannot copy {} to {}", built.display(), plugin.display()))?;
    let folder = node.folder();
    authority.server(&name, &[&name], &[node.address()])?.write(&folder, "serving")?;
    let user = authority.client(&format!("system:node:{name}"), &["system:nodes"])?;
    let podlet_conf = folder.join("podlet.conf");
    let cluster = node.cluster();
    kubeconfig::write(&podlet_conf, &cluster.name(), server, &authority.own.certificate, &user)?;
    let config = json!({
        "nodeName": name,
        "nodeAddress": node.address(),
        "kubeconfig": podlet_conf,
        "nodeRoot": node.root(),
        "images": programs.images(),
        "serverCert": folder.join("serving.crt"),
        "serverKey": folder.join("serving.key"),
        "clientCa": cluster.folder().join("pki/ca.crt"),
        "clusterDns": [cluster.dns_service()],
        "labels": {"topology.kubernetes.io/zone": cluster.name()},
        "crashBackoffMs": CRASH_BACKOFF_MS,
        // By this name the rig finds what is left of its containers.
        "cgroup": node.namespace(),
    });
    write_whole(&folder.join("podlet.json"), &serde_json::to_vec_pretty(&config)?)?;
    let proxy = proxy(node);
    write_whole(&folder.join("kube-proxy.json"), &serde_json::to_vec_pretty(&proxy)?)
}

/// Starts kube-proxy and the podlet.
pub(crate) fn start(
    node: &NodePlan<'_>,
    processes: &Processes,
    programs: &Programs,
) -> anyhow::Result<Vec<Process>> {
    let (name, namespace, folder) = (node.name(), node.namespace(), node.folder());
    let config = |file: &str| folder.join(file).display().to_string();
    let proxy = Launch::new(format!("{name}-kube-proxy"), Some(&namespace), programs.kube_proxy())
        .arguments(["--config".to_owned(), config("kube-proxy.json")]);
    let podlet = Launch::new(format!("{name}-podlet"), Some(&namespace), own("podlet")?)
        .arguments(["--config".to_owned(), config("podlet.json")]);
    Ok(vec![processes.start(&podlet)?, processes.start(&proxy)?])
}

fn lay_out(root: &Path) -> anyhow::Result<()> {
    for folder in ["etc/cni/net.d", "opt/cni/bin", "run/netns", "var/lib/kubelet/pods", "var/log/pods", "tmp"]
    {
        let path = root.join(folder);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let run = root.join("var/run");
    if !run.is_symlink() {
        symlink("../run", &run).with_context(|| format!("cannot link {}", run.display()))?;
    }
    Ok(())
}

fn proxy(node: &NodePlan<'_>) -> serde_json::Value {
    let cluster = node.cluster();
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": cluster.folder().join("kube-proxy.conf"), "qps": 50, "burst": 100},
        "clusterCIDR": cluster.pods().to_string(),
        "hostnameOverride": node.name(),
        "bindAddress": "0.0.0.0",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nftables": {"minSyncPeriod": PROXY_SYNC_MIN, "syncPeriod": "30s"},
        // Zeros keep it from writing sysctls of the machine.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    })
}
