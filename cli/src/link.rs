//! The objects that join two clusters: one `ClusterLink` on each side.

use std::net::SocketAddr;

use anyhow::Context as _;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};

use crate::client::Running;

/// One side of a link, as the other side must know it.
#[derive(Debug)]
pub(crate) struct Side {
    /// The running cluster.
    pub(crate) running: Running,
    /// The pin of its root's public key.
    pub(crate) pin: String,
    /// Its east-west gateway: where it accepts tunnels, and its namespace and service account.
    pub(crate) gateway: (SocketAddr, String),
}

/// What passes over a link, from the side that writes it.
#[derive(Debug, Default)]
pub(crate) struct Shared<'a> {
    /// Namespaces of ours whose exported services the other side may see.
    pub(crate) export: &'a [&'a str],
    /// Namespaces of the other side, and what they are called here.
    pub(crate) import: &'a [(&'a str, &'a str)],
    /// The paths of the identities of the other side's waypoints whose word about callers is taken here.
    pub(crate) vouchers: &'a [String],
}

/// The pin of a cluster's root, from its state directory.
pub(crate) fn pin(state: &std::path::Path) -> anyhow::Result<String> {
    let file = state.join("root/root.pem");
    let root =
        CertificateDer::from_pem_file(&file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(authority::bundle::spki_pin(&root)?)
}

/// The `ClusterLink` with which one side knows the other, as YAML.
pub(crate) fn manifest(other: &Side, shared: &Shared<'_>) -> anyhow::Result<String> {
    let Running { address, trust_domain, cluster, .. } = &other.running;
    let import: Vec<Value> =
        shared.import.iter().map(|(remote, local)| json!({ "remote": remote, "local": local })).collect();
    let vouchers: Vec<String> =
        shared.vouchers.iter().map(|path| format!("spiffe://{trust_domain}{path}")).collect();
    let (gateway, account) = &other.gateway;
    let object = json!({
        "apiVersion": "strait.dev/v1alpha1",
        "kind": "ClusterLink",
        "metadata": { "name": cluster },
        "spec": {
            "trustDomain": trust_domain,
            "bundle": { "endpoint": format!("https://{address}/bundle"), "pin": other.pin },
            "controlPlane": {
                "address": address.to_string(),
                "identity": format!("spiffe://{trust_domain}/ns/strait-system/sa/controlplane"),
            },
            "gateways": [{
                "address": gateway.ip().to_string(),
                "port": gateway.port(),
                "identity": format!("spiffe://{trust_domain}{account}"),
            }],
            "vouchers": vouchers,
            "import": { "namespaces": import },
            "export": { "namespaces": shared.export },
        },
    });
    serde_saphyr::to_string(&object).context("a link is YAML")
}
