//! Secrets: sent only to proxies that use them, kept in a store of their own, never shown.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::names::ObjectName;

/// One Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// The object.
    pub name: ObjectName,
    /// Its values.
    pub data: BTreeMap<Arc<str>, Hidden>,
}

/// A text that is never shown: neither by `Debug` nor in any dump.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub Arc<str>);

impl Hidden {
    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}
