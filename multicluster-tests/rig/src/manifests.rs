//! What every cluster of the rig holds from the start, applied by the rig itself.

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    core::{GroupVersionKind, TypeMeta},
    discovery::ApiResource,
};

/// The name under which these objects' fields belong to the rig.
const MANAGER: &str = "rig";
/// The cluster's DNS.
const DNS: &str = include_str!("../manifests/dns.yaml");

/// Applies the cluster's DNS, to be found at `address`.
pub(crate) async fn dns(client: &Client, address: std::net::Ipv4Addr) -> anyhow::Result<()> {
    apply(client, &DNS.replace("ADDRESS", &address.to_string())).await
}

/// Whether the cluster's DNS has a pod that is ready.
pub(crate) async fn dns_ready(client: &Client) -> anyhow::Result<bool> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    let status = deployments.get("coredns").await?.status.unwrap_or_default();
    Ok(status.ready_replicas.unwrap_or(0) > 0)
}

async fn apply(client: &Client, text: &str) -> anyhow::Result<()> {
    let objects: Vec<DynamicObject> =
        serde_saphyr::from_multiple(text).context("a manifest of the rig is not YAML of objects")?;
    for object in objects {
        let types = object.types.clone().context("a manifest of the rig has no kind")?;
        let resource = resource(&types)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let params = PatchParams::apply(MANAGER).force();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("the API server refused {} {name}", types.kind))?;
    }
    Ok(())
}

/// The kinds in our manifests have the plainest of plurals, so nothing needs to be discovered.
fn resource(types: &TypeMeta) -> anyhow::Result<ApiResource> {
    let kind = GroupVersionKind::try_from(types).context("a manifest has no API version")?;
    let plural = format!("{}s", kind.kind.to_lowercase());
    Ok(ApiResource::from_gvk_with_plural(&kind, &plural))
}
