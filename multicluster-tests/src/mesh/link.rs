//! Links two clusters as `strait link` does: one `ClusterLink` on each side.

use serde_json::{Value, json};

use super::cluster::Cluster;

/// The `ClusterLink` with which others know `cluster`, whose east-west gateway is `strait-system/east-west` at
/// 127.N.2.2: namespaces to import (theirs, ours) and to export.
///
/// # Errors
/// When the cluster's root cannot be read.
pub fn link(cluster: &Cluster, import: &[(&str, &str)], export: &[&str]) -> anyhow::Result<String> {
    let trust_domain = cluster.trust_domain();
    let address = cluster.number().at(0, 1, controlplane::PORT);
    let import: Vec<Value> =
        import.iter().map(|(remote, local)| json!({"remote": remote, "local": local})).collect();
    let object = json!({
        "apiVersion": "strait.dev/v1alpha1",
        "kind": "ClusterLink",
        "metadata": {"name": cluster.name()},
        "spec": {
            "trustDomain": trust_domain,
            "bundle": {
                "endpoint": format!("https://{address}/bundle"),
                "pin": authority::spki_pin(&cluster.root()?)?,
            },
            "controlPlane": {
                "address": address.to_string(),
                "identity": format!("spiffe://{trust_domain}/ns/strait-system/sa/controlplane"),
            },
            "gateways": [{
                "address": cluster.number().ip(2, 2).to_string(),
                "port": 15008,
                "identity": format!("spiffe://{trust_domain}/ns/strait-system/sa/east-west"),
            }],
            "import": {"namespaces": import},
            "export": {"namespaces": export},
        },
    });
    Ok(object.to_string())
}
