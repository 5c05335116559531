//! `ToolCatalog`: which tools were approved, and what they can do.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    access::ToolAccess,
    bounded::{List, Text},
    status::ConditionsStatus,
};

/// Most tools of one catalogue.
pub const TOOLS_MAX: usize = 1024;

/// Lists the tools of a backend that were approved.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "ToolCatalog",
    plural = "toolcatalogs",
    namespaced,
    category = "strait",
    status = "ConditionsStatus",
    doc = "Lists the tools of a backend that were approved, and says what they can do.",
    printcolumn(name = "Unlisted", type_ = "string", json_path = ".spec.unlisted"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolCatalogSpec {
    /// The tools, each once, by the names that callers see: `SERVER_TOOL` where a backend has several servers.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tools: List<CatalogTool, TOOLS_MAX, 0>,
    /// What becomes of a tool that is not listed.
    #[serde(default)]
    pub unlisted: Unlisted,
}

/// A tool as it was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogTool {
    /// Its name.
    pub name: Text<256>,
    /// `sha256:` and the digest of its definition, as `strait mcp pin` writes it: a tool that differs is held back.
    /// Left out, it may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub pin: Option<Text<71>>,
    /// What it can do, which policies name as `access`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ToolAccess>,
}

/// What becomes of a tool that is not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Unlisted {
    /// It is held back until somebody approves it.
    #[default]
    Hold,
    /// It passes.
    Pass,
}
