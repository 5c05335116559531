//! The network of a pod.

use std::{fs, io, net::IpAddr, path::PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Context, mounts};
use crate::{
    cni::{Attachment, Chain, CniError},
    containers::ContainerId,
    netns,
    paths::Paths,
    shim::run::write_atomic,
};

/// A pod's network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sandbox {
    /// The pod's uid.
    pub(super) uid: String,
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
    fn attachment(&self, uid: &str) -> Attachment {
        Attachment {
            sandbox: self.sandbox.clone(),
            netns: self.netns.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: uid.to_owned(),
        }
    }
}

impl Sandbox {
    /// Makes it.
    pub(super) async fn create(context: &Context, pod: &Pod) -> Result<Self, SandboxError> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let uid = text(&pod.metadata.uid);
        if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            let made = Self { uid, ips: vec![context.config.node_address], own: None };
            made.write(&context.paths)?;
            return Ok(made);
        }
        let network = context.chain.network()?;
        let sandbox = ContainerId::fresh()?.as_str().to_owned();
        let netns = context.paths.netns().join(format!("cni-{}", uuid(&sandbox)));
        let own = Own {
            netns: netns.clone(),
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            sandbox,
            network,
            result: Value::Null,
        };
        let mut made = Self { uid, ips: Vec::new(), own: Some(own.clone()) };
        // Written first: whoever comes after us finds what there is to remove.
        made.write(&context.paths)?;
        netns::create(netns.clone()).await?;
        match context.chain.add(&own.network, &own.attachment(&made.uid)).await {
            Ok((ips, result)) => {
                (made.ips, made.own) = (ips, Some(Own { result, ..own }));
                made.write(&context.paths)?;
                Ok(made)
            }
            Err(error) => {
                netns::remove(&netns);
                let _ = fs::remove_file(made.file(&context.paths));
                Err(error.into())
            }
        }
    }

    /// Whether all of it was made: a podlet may have ended before.
    pub(super) fn finished(&self) -> bool {
        self.own.as_ref().is_none_or(|own| !own.result.is_null())
    }

    /// Takes it down.
    pub(super) async fn destroy(&self, chain: &Chain, paths: &Paths) {
        if let Some(own) = &self.own {
            if let Err(error) = chain.delete(&own.network, &own.attachment(&self.uid), &own.result).await {
                tracing::warn!(pod = own.name, %error, "the network of a pod was not given back");
            }
            netns::remove(&own.netns);
        }
        let _ = fs::remove_file(self.file(paths));
    }

    fn write(&self, paths: &Paths) -> io::Result<()> {
        write_atomic(&self.file(paths), &serde_json::to_vec(self)?)
    }

    fn file(&self, paths: &Paths) -> PathBuf {
        paths.sandboxes().join(format!("{}.json", self.uid))
    }
}

/// A name in the form of a UUID, as CNI tools expect it.
fn uuid(hex: &str) -> String {
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Makes the folders and the mounts of a node's root ready.
///
/// # Errors
/// When the node's root cannot be used.
pub(crate) fn prepare(paths: &Paths) -> io::Result<()> {
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
    mounts::share(root)
}
