//! `MeshWorkload`: a process outside Kubernetes, on a VM, a laptop, or one of `strait up`.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text},
    refs::NameText,
    status::Condition,
};

/// A process that a node proxy speaks for.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "MeshWorkload",
    namespaced,
    category = "strait",
    status = "MeshWorkloadStatus",
    doc = "A process outside Kubernetes that a node proxy speaks for.",
    printcolumn(name = "Service-Account", type_ = "string", json_path = ".spec.serviceAccount"),
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[0]"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.ports) || has(self.delivery) || self.ports.all(p, has(p.delivery))")
        .message("ports need a delivery: where its connections are handed over"),
    validation = Rule::new("has(self.ports) || !has(self.delivery)").message("a delivery without ports delivers nothing")
)]
pub struct MeshWorkloadSpec {
    /// Its service account, in its own namespace.
    #[schemars(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    ))]
    pub service_account: NameText,
    /// Only processes of this user may use its proxy port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "maximum" = 4294967295u64))]
    pub uid: Option<u32>,
    /// The node proxy that runs it.
    #[schemars(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    ))]
    pub node: NameText,
    /// Its addresses in the mesh; left out, one is taken from the ranges.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(a, isIP(a))").message("an address is an IP address"),
        validation = Rule::new("self.all(a, !isIP(a) || ip(a).family() == 4)").message("IPv6 addresses are not built yet")
    )]
    pub addresses: List<Text<45>, 1>,
    /// Where connections to it are handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// The ports that it serves.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(p, self.exists_one(q, q.port == p.port))").message("a port stands there once"),
        validation = Rule::new("self.all(p, !has(p.name) || self.exists_one(q, has(q.name) && q.name == p.name))")
            .message("each port has a name of its own"),
        validation = Rule::new("size(self) < 2 || self.all(p, has(p.name))").message("of several ports, each has a name")
    )]
    pub ports: List<WorkloadPort, 16>,
}

/// Where connections to a workload are handed over; it never leaves its node. Exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.unix) != has(self.loopbackPort)")
        .message("exactly one of unix and loopbackPort is needed")
)]
pub struct Delivery {
    /// A unix socket, by its absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub unix: Option<Text<107>>,
    /// A port of the node's loopback interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub loopback_port: Option<u16>,
}

/// A port that a workload serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadPort {
    /// Its name, which a Service's `targetPort` may say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Option<Text<63>>,
    /// The port at its address in the mesh.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// What it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<Text<253>>,
    /// Where connections to this port are handed over, if it is elsewhere than the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// The status of a `MeshWorkload`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshWorkloadStatus {
    /// Its addresses in the mesh.
    #[serde(default)]
    pub addresses: List<Text<64>, 16, 0>,
    /// What is so.
    #[serde(default)]
    pub conditions: List<Condition, 8, 0>,
}
