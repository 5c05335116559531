//! `ServiceExport` and `ServiceImport` of the Multi-Cluster Services API.

use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text, Texts},
    core::{Protocol, SessionAffinity},
    metadata::Ignored,
};

/// Exports the Service of the same name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceExportSpec {
    /// Labels of what is imported elsewhere.
    #[serde(default)]
    pub exported_labels: Texts,
    /// Annotations of what is imported elsewhere.
    #[serde(default)]
    pub exported_annotations: Texts,
}

/// A Service that other clusters export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceImportSpec {
    /// Whether it has an address of its own.
    #[serde(rename = "type")]
    pub kind: ServiceImportType,
    /// Its ports.
    #[serde(default)]
    pub ports: List<ImportedPort, 100, 0>,
    /// Its addresses.
    #[serde(default)]
    pub ips: List<Text<45>, 2, 0>,
    /// Whether a client stays with one endpoint. `ClientIP` is not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    #[serde(default, skip_serializing)]
    session_affinity_config: Ignored,
}

/// Whether an imported Service has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceImportType {
    /// It has.
    #[serde(rename = "ClusterSetIP")]
    ClusterSetIp,
    /// It has not. Not built yet.
    Headless,
}

/// A port of an imported Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImportedPort {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Text<63>>,
    /// `TCP` if left out.
    #[serde(default)]
    pub protocol: Protocol,
    /// What it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<Text<253>>,
    /// The port.
    pub port: u16,
}
