//! Catalogues: which tools of a backend were approved, and what they can do.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::names::ObjectName;

/// One ToolCatalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The object.
    pub name: ObjectName,
    /// The approved tools, by the names that callers see.
    pub tools: BTreeMap<Arc<str>, ApprovedTool>,
    /// What becomes of a tool that is not in it.
    pub unlisted: Unlisted,
}

/// A tool as it was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedTool {
    /// `sha256:` and the hex digest of its definition (RFC 8785 form of name, title, description, schemas and
    /// annotations, with the name as the server says it). Absent: not pinned, only described.
    pub pin: Option<Arc<str>>,
    /// What it can do.
    pub access: Option<ToolAccess>,
}

/// What a tool can do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ToolAccess {
    /// It only reads.
    Read,
    /// It changes something.
    Write,
}

/// What becomes of a tool that is not in a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unlisted {
    /// It is held back until somebody approves it.
    Hold,
    /// It passes.
    Pass,
}
