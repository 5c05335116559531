//! The network of a pod, and what a former podlet left.

use std::{fs, io, net::IpAddr, path::PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, clear, mounts};
use crate::{
    cni::{Attachment, Chain, CniError},
    containers::ContainerId,
    netns,
    paths::Paths,
    runc::Runc,
    shim::run::write_atomic,
};

/// A pod's network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sandbox {
    /// The pod's addresses.
    pub(super) ips: Vec<IpAddr>,
    /// Its own network; `None` if it is the node's.
    pub(super) own: Option<Own>,
}

/// A network of a pod's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Own {
    sandbox: String,
    /// Where the namespace is mounted.
    pub(super) netns: PathBuf,
    namespace: String,
    name: String,
    uid: String,
    network: Value,
    result: Value,
}

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
pub(super) enum SandboxError {
    /// CNI.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// The namespace.
    #[error("cannot make a network namespace: {0}")]
    Namespace(#[from] io::Error),
}

impl Own {
    fn attachment(&self) -> Attachment {
        Attachment {
            sandbox: self.sandbox.clone(),
            netns: self.netns.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
}

impl Sandbox {
    /// Makes it.
    pub(super) async fn create(context: &Context, pod: &Pod) -> Result<Self, SandboxError> {
        if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            return Ok(Self { ips: vec![context.config.node_address], own: None });
        }
        let network = context.chain.network()?;
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let sandbox = ContainerId::fresh()?.as_str().to_owned();
        let netns = context.paths.netns().join(format!("cni-{}", uuid(&sandbox)));
        let own = Own {
            netns: netns.clone(),
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
            sandbox,
            network,
            result: Value::Null,
        };
        let mut made = Self { ips: Vec::new(), own: Some(own.clone()) };
        // Written first: whoever comes after us finds what there is to remove.
        let file = context.paths.sandboxes().join(format!("{}.json", own.uid));
        write_atomic(&file, &serde_json::to_vec(&made).unwrap_or_default())?;
        netns::create(netns.clone()).await?;
        match context.chain.add(&own.network, &own.attachment()).await {
            Ok((ips, result)) => {
                made = Self { ips, own: Some(Own { result, ..own }) };
                write_atomic(&file, &serde_json::to_vec(&made).unwrap_or_default())?;
                Ok(made)
            }
            Err(error) => {
                netns::remove(&netns);
                let _ = fs::remove_file(file);
                Err(error.into())
            }
        }
    }

    /// Takes it down.
    pub(super) async fn destroy(&self, chain: &Chain, paths: &Paths) {
        let Some(own) = &self.own else { return };
        if let Err(error) = chain.delete(&own.network, &own.attachment(), &own.result).await {
            tracing::warn!(pod = own.name, %error, "the network of a pod was not given back");
        }
        netns::remove(&own.netns);
        let _ = fs::remove_file(paths.sandboxes().join(format!("{}.json", own.uid)));
    }
}

/// A name in the form of a UUID, as CNI tools expect it.
fn uuid(hex: &str) -> String {
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Makes the folders of a node ready, and removes what a former podlet left: containers, networks,
/// mounts. Whoever takes a node away for good calls it, too.
///
/// # Errors
/// When the node's root cannot be used.
pub async fn sweep(paths: &Paths, chain: &Chain, runc: &Runc, cgroup: &str) -> io::Result<()> {
    let root = paths.root();
    for folder in ["run/netns", "var/lib", "var/log", "etc", "opt"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let link = root.join("var/run");
    if link.symlink_metadata().is_err() {
        std::os::unix::fs::symlink("../run", link)?;
    }
    for folder in [
        paths.cni_config(),
        paths.cni_bin(),
        paths.logs(),
        paths.log_links(),
        paths.runc(),
        paths.sandboxes(),
        paths.containers(),
    ] {
        fs::create_dir_all(folder)?;
    }
    for id in names(&paths.containers())? {
        if let Some(id) = ContainerId::known(&id) {
            clear::container(runc, cgroup, &id, &paths.container(&id)).await;
        }
    }
    for file in names(&paths.sandboxes())? {
        let path = paths.sandboxes().join(file);
        if let Ok(left) = serde_json::from_slice::<Sandbox>(&fs::read(&path)?) {
            left.destroy(chain, paths).await;
        }
        let _ = fs::remove_file(path);
    }
    let pods = paths.pod("");
    if pods.is_dir() {
        mounts::remove(&pods)?;
    }
    Ok(())
}

/// Prepares the mounts of a node's root.
pub(crate) fn prepare(paths: &Paths) -> io::Result<()> {
    mounts::share(paths.root())
}

fn names(folder: &std::path::Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}
