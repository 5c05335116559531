//! The plugin's configuration, read and checked in one place.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::Value;

use super::answer::CniError;

/// The versions of the specification that the plugin speaks, newest first. Their results are alike.
pub(super) const VERSIONS: [&str; 2] = ["1.1.0", "1.0.0"];

/// What the plugin is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    #[serde(rename = "cniVersion")]
    pub(super) version: String,
    /// The node's pod range.
    pub(super) range: Ipv4Net,
    /// From which programs of the node speak to its pods.
    pub(super) node_address: Ipv4Addr,
    /// Where given addresses are remembered.
    pub(super) address_folder: PathBuf,
    #[serde(rename = "prevResult", default)]
    previous: Value,
    #[serde(rename = "cni.dev/valid-attachments", default)]
    valid: Option<Vec<Valid>>,
}

#[derive(Debug, Deserialize)]
struct Valid {
    #[serde(rename = "containerID")]
    container: String,
    #[serde(rename = "ifname")]
    interface: String,
}

impl Config {
    pub(super) fn parse(bytes: &[u8]) -> Result<Config, CniError> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| CniError::decode(format!("the configuration is not JSON: {error}")))?;
        let spoken = value.get("cniVersion").and_then(Value::as_str).unwrap_or_default();
        if !VERSIONS.contains(&spoken) {
            let versions = VERSIONS.join(" and ");
            return Err(CniError::version(format!(
                "cniVersion is {spoken:?}; this plugin speaks {versions}"
            )));
        }
        serde_json::from_value(value)
            .map_err(|error| CniError::config(format!("the configuration is incomplete: {error}")))
    }

    /// The addresses that the runtime says the pod has.
    pub(super) fn previous_addresses(&self) -> Vec<String> {
        let ips = self.previous.get("ips").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        ips.iter().filter_map(|ip| ip.get("address")?.as_str()).map(str::to_owned).collect()
    }

    /// Containers and interfaces that stay.
    pub(super) fn valid_attachments(&self) -> Result<Vec<(String, String)>, CniError> {
        let Some(valid) = &self.valid else {
            return Err(CniError::config("GC needs cni.dev/valid-attachments".to_owned()));
        };
        Ok(valid.iter().map(|one| (one.container.clone(), one.interface.clone())).collect())
    }
}

/// The version that a question for versions is asked in.
pub(super) fn version(bytes: &[u8]) -> String {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    value.get("cniVersion").and_then(Value::as_str).unwrap_or(VERSIONS[0]).to_owned()
}
