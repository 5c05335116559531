//! Kubernetes' own kinds, as far as we read them: Namespace, ServiceAccount, Service, Secret.
//!
//! Types of our own, because those of `k8s-openapi` overlook unknown fields, and a typo in a file must be
//! found. Fields that Kubernetes has and that say nothing to us are accepted by name and not kept.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{
    bounded::{List, Text, Texts},
    metadata::{Ignored, Metadata},
};

/// A Namespace's spec: nothing that we read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceSpec {
    #[serde(default, skip_serializing)]
    finalizers: Ignored,
}

/// A ServiceAccount: its name and labels alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccount {
    /// Group and version, as written.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    #[serde(default, skip_serializing)]
    secrets: Ignored,
    #[serde(default, skip_serializing)]
    image_pull_secrets: Ignored,
    #[serde(default, skip_serializing)]
    automount_service_account_token: Ignored,
}

/// A Secret. Its values are never written to a log.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// Group and version, as written.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// Values in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Values as text; they win over `data`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub string_data: BTreeMap<String, String>,
    /// What it holds.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind_of_secret: Option<String>,
    /// Whether it may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        out.debug_struct("Secret")
            .field("metadata", &self.metadata)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// What kind of Service it is.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Labels of the workloads behind it; without any it has none.
    #[serde(default)]
    pub selector: Texts,
    /// Its ports.
    #[serde(default)]
    pub ports: List<ServicePort, 100, 0>,
    /// Its address, or `None` for a headless one; left out, one is taken from the ranges.
    #[serde(default, rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<String>,
    /// Its addresses.
    #[serde(default, rename = "clusterIPs", skip_serializing_if = "List::is_empty")]
    pub cluster_ips: List<String, 2, 0>,
    /// Addresses that something else routes to it. Not built yet.
    #[serde(default, rename = "externalIPs", skip_serializing_if = "List::is_empty")]
    pub external_ips: List<String, 64, 0>,
    /// The name that `ExternalName` stands for. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// Whether a client stays with one endpoint. `ClientIP` is not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Whether near endpoints come first: `PreferClose` and its kin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<Text<253>>,
    /// `Local` is not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<TrafficLocality>,
    /// Whether endpoints that are not ready are served as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_not_ready_addresses: Option<bool>,
    #[serde(default, skip_serializing)]
    session_affinity_config: Ignored,
    #[serde(default, skip_serializing)]
    external_traffic_policy: Ignored,
    #[serde(default, skip_serializing)]
    ip_families: Ignored,
    #[serde(default, skip_serializing)]
    ip_family_policy: Ignored,
    #[serde(default, skip_serializing)]
    health_check_node_port: Ignored,
    #[serde(default, skip_serializing)]
    allocate_load_balancer_node_ports: Ignored,
    #[serde(default, skip_serializing)]
    load_balancer_class: Ignored,
    #[serde(default, rename = "loadBalancerIP", skip_serializing)]
    load_balancer_ip: Ignored,
    #[serde(default, skip_serializing)]
    load_balancer_source_ranges: Ignored,
}

impl ServiceSpec {
    /// True if the Service has no address of its own.
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.as_deref() == Some("None")
    }
}

/// What kind of Service it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    /// Inside the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// And on a port of each node, which is Kubernetes' matter.
    NodePort,
    /// And behind a load balancer, which is Kubernetes' matter.
    LoadBalancer,
    /// A DNS alias. Not built yet.
    ExternalName,
}

/// Whether a client stays with one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionAffinity {
    /// It does not.
    None,
    /// By its address. Not built yet.
    #[serde(rename = "ClientIP")]
    ClientIp,
}

/// Which endpoints are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficLocality {
    /// All.
    Cluster,
    /// Those of the node. Not built yet.
    Local,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// Its name; needed if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<63>>,
    /// The port.
    pub port: u16,
    /// The workload's port; left out, the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<TargetPort>,
    /// `TCP` if left out.
    #[serde(default)]
    pub protocol: Protocol,
    /// What it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<Text<253>>,
    #[serde(default, skip_serializing)]
    node_port: Ignored,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// A workload's port, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By name.
    Name(String),
}

impl<'de> Deserialize<'de> for TargetPort {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Port;

        impl de::Visitor<'_> for Port {
            type Value = TargetPort;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a port's number, 1 to 65535, or its name")
            }

            fn visit_u64<E: de::Error>(self, port: u64) -> Result<TargetPort, E> {
                match u16::try_from(port) {
                    Ok(port) if port > 0 => Ok(TargetPort::Number(port)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(port), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, port: i64) -> Result<TargetPort, E> {
                u64::try_from(port)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(port), &self))
                    .and_then(|port| self.visit_u64(port))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<TargetPort, E> {
                if name.is_empty() || name.len() > 63 {
                    return Err(E::invalid_value(de::Unexpected::Str(name), &self));
                }
                Ok(TargetPort::Name(name.to_owned()))
            }
        }

        from.deserialize_any(Port)
    }
}
