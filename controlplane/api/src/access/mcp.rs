//! Messages of MCP: tools with their arguments, prompts and resources.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::limits::EXPRESSION_MAX;
use crate::bounded::{List, Text};

/// Messages of MCP: what any one of these lists names. Any of them brings the base protocol with it, and
/// lists that show what it names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpOperation {
    /// Calls of tools.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub tools: List<ToolTerm, 32>,
    /// Prompts, by name.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub prompts: List<PromptTerm, 16>,
    /// Resources, by URI.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub resources: List<ResourceTerm, 16>,
    /// Methods of the protocol, for example `logging/setLevel`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Za-z]+(/[A-Za-z_]+)*$")))]
    pub methods: List<Text<128>, 64>,
}

/// Calls of tools: of these names, that can do this, with these arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.names) || has(self.access)").message("at least one of names and access is needed")
)]
pub struct ToolTerm {
    /// The tools' names. A name may end in `*`: every tool that begins so; `*` alone is every tool.
    /// Left out, every tool that `access` describes.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub names: List<Text<256>, 64>,
    /// What a tool can do, as the backend's `ToolCatalog` says. A tool of which none says it does not match in an
    /// Allow, and matches in a Deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ToolAccess>,
    /// Conditions on arguments; all are needed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub arguments: List<ArgumentTerm, 8>,
}

/// What a tool can do, by the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ToolAccess {
    /// It only reads.
    Read,
    /// It writes.
    Write,
}

/// Prompts by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromptTerm {
    /// The prompts' names; `*` at the end as with tools.
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub names: List<Text<256>, 64>,
}

/// Resources by URI.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceTerm {
    /// The resources' URIs; `*` at the end as with tools.
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub uris: List<Text<2048>, 64>,
}

/// A condition on one argument: its place, and at least one operator; all that are there must hold.
///
/// An argument that is missing or of the wrong type does not match in an Allow, and matches in a Deny.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.absent) || !(has(self.prefix) || has(self.pattern) || has(self.min) || has(self.max))")
        .message("absent stands alone"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
        .message("min is greater than max")
)]
// CEL of an API server does not see `in`, because its values have no one type; so the schema itself says what is
// said of it: at least one operator, and `absent` not beside it.
#[schemars(extend(
    "anyOf" = [
        {"required": ["in"]},
        {"required": ["prefix"]},
        {"required": ["pattern"]},
        {"required": ["min"]},
        {"required": ["max"]},
        {"required": ["absent"]},
    ],
    "not" = {"required": ["absent", "in"]},
))]
pub struct ArgumentTerm {
    /// Where it stands in the arguments: a JSON pointer (RFC 6901).
    #[schemars(regex(pattern = r"^(/([^/~]|~0|~1)*)+$"))]
    pub path: Text<256>,
    /// Any of these values.
    #[serde(default, rename = "in", skip_serializing_if = "List::is_empty")]
    pub one_of: List<Scalar, 64>,
    /// A text that begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Text<1024>>,
    /// A text that this regular expression (RE2) matches as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Text<EXPRESSION_MAX>>,
    /// A number that is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub min: Option<serde_json::Number>,
    /// A number that is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number")]
    pub max: Option<serde_json::Number>,
    /// It must not be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("absent is true or left out"))]
    pub absent: Option<bool>,
}

fn number(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "number"})
}

/// A text, a number, or true or false.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A number.
    Number(serde_json::Number),
    /// True or false.
    Bool(bool),
}

/// Longest text that an argument is compared with.
const SCALAR_BYTES_MAX: usize = 4096;

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(from)? {
            serde_json::Value::String(text) if text.len() > SCALAR_BYTES_MAX => {
                Err(serde::de::Error::custom(format_args!("has more than {SCALAR_BYTES_MAX} bytes")))
            }
            serde_json::Value::String(text) => Ok(Self::Text(text)),
            serde_json::Value::Number(number) => Ok(Self::Number(number)),
            serde_json::Value::Bool(flag) => Ok(Self::Bool(flag)),
            _ => Err(serde::de::Error::custom("is neither a text, nor a number, nor true or false")),
        }
    }
}

impl schemars::JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // A structural schema has no words for "one of three types"; `admit` has.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
    }
}
