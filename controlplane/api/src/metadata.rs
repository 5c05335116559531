//! The parts that every object has: `metadata`, and the envelope around `spec` and `status`.
//!
//! What kubectl and an API server write is accepted here by name; any other field is refused, as
//! everywhere.

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::bounded::Texts;

/// The namespace of an object that names none, as with kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// An object's metadata.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The namespace as written; [`crate::Object::namespace`] knows the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub labels: Texts,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub annotations: Texts,
    /// Written by an API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Written by an API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Counts the changes of `spec`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// RFC 3339, in UTC and whole seconds, so that its texts sort by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// When it began to be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// A name to be made by an API server; files have nobody to make one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    #[serde(default, skip_serializing)]
    deletion_grace_period_seconds: Ignored,
    #[serde(default, skip_serializing)]
    managed_fields: Ignored,
    #[serde(default, skip_serializing)]
    owner_references: Ignored,
    #[serde(default, skip_serializing)]
    finalizers: Ignored,
    #[serde(default, skip_serializing)]
    self_link: Ignored,
}

/// A field that may stand there, has nothing to tell us, and is not kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ignored;

/// Two things that tell us nothing are equal.
impl PartialEq for Ignored {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}

/// An object whose content is in `spec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource<S> {
    /// Group and version, as written.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
    #[serde(default, skip_serializing)]
    status: Ignored,
}

/// An object that may be written without a `spec`, which then has nothing set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default"))]
pub struct Optional<S> {
    /// Group and version, as written.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// Name, namespace, labels, annotations.
    pub metadata: Metadata,
    /// What is wanted.
    #[serde(default)]
    pub spec: S,
    #[serde(default, skip_serializing)]
    status: Ignored,
}
