//! Where things lie under a node's root. Pure: it opens nothing.
//!
//! What a real node has lies at the places a real node has it; what is podlet's own lies under
//! `/run/podlet`, with short names, since sockets lie there and their paths end at 107 bytes.

use std::path::{Path, PathBuf};

use crate::containers::ContainerId;

/// The paths of one node.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Of the node with this root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// CNI configurations.
    pub fn cni_config(&self) -> PathBuf {
        self.root.join("etc/cni/net.d")
    }

    /// CNI plugins.
    pub fn cni_bin(&self) -> PathBuf {
        self.root.join("opt/cni/bin")
    }

    /// Where network namespaces of pods are mounted, one file each.
    pub fn netns(&self) -> PathBuf {
        self.root.join("run/netns")
    }

    /// What the kubelet keeps of a pod: volumes and such.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.root.join("var/lib/kubelet/pods").join(uid)
    }

    /// All pods' logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("var/log/pods")
    }

    /// The folder of a pod's logs: `<namespace>_<name>_<uid>`.
    pub fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs().join(format!("{namespace}_{name}_{uid}"))
    }

    /// The log of one life of a container; `attempt` counts from 0.
    pub fn log(&self, pod_logs: &Path, container: &str, attempt: u32) -> PathBuf {
        pod_logs.join(container).join(format!("{attempt}.log"))
    }

    /// Links to the logs, named as on a real node.
    pub fn log_links(&self) -> PathBuf {
        self.root.join("var/log/containers")
    }

    /// What is podlet's own.
    pub fn state(&self) -> PathBuf {
        self.root.join("run/podlet")
    }

    /// Where runc keeps what it knows.
    pub fn runc(&self) -> PathBuf {
        self.state().join("runc")
    }

    /// The sandboxes: one file a pod.
    pub fn sandboxes(&self) -> PathBuf {
        self.state().join("sandboxes")
    }

    /// The folders of containers.
    pub fn containers(&self) -> PathBuf {
        self.state().join("containers")
    }

    /// The folder of one container: its bundle and what its shim leaves there.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }
}
