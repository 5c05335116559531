//! Terms over text that policies, routes and filters share.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A condition on a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TextMatch {
    /// Equal.
    Exact(Arc<str>),
    /// Begins with it.
    Prefix(Arc<str>),
    /// Ends with it.
    Suffix(Arc<str>),
    /// The whole text matches the regular expression.
    Regex(Arc<str>),
}

/// A condition on a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum PathMatch {
    /// Equal.
    Exact(Arc<str>),
    /// Begins with it, by whole segments (Gateway API `PathPrefix`).
    Prefix(Arc<str>),
    /// The whole path matches the regular expression.
    Regex(Arc<str>),
}

/// A condition on a header or query parameter. Header names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedMatch {
    /// The name.
    pub name: Arc<str>,
    /// The condition on its value.
    pub value: TextMatch,
}

/// A host name, or `*.` and a suffix that stands for one or more labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostPattern(pub Arc<str>);

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}
