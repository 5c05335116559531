//! `AccessPolicy` and `ClusterAccessPolicy`: who may do what.
//!
//! The shape alone. What a rule means is decided in `mesh`; what a valid one is, in `admit` and in the
//! CEL beside each field here: a table of good and bad objects holds the two equal.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    bounded::{List, Text},
    refs::{LabelSelector, NameText, TARGETS_MAX, TargetRef, TargetSelector},
    status::PolicyStatus,
};

/// Most rules of one policy.
pub const RULES_MAX: usize = 64;
/// Longest SPIFFE identity or pattern (SPIFFE ID standard, section 2.3).
pub const IDENTITY_MAX: usize = 2048;
/// Longest regular expression or CEL expression.
pub const EXPRESSION_MAX: usize = 1024;

/// Grants or refuses access to its targets, which are in its own namespace.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "AccessPolicy",
    plural = "accesspolicies",
    namespaced,
    category = "strait",
    status = "PolicyStatus",
    doc = "Says who may do what at its targets, which are in its own namespace.",
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRefs[*].name"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.targetRefs) != has(self.targetSelectors)")
        .message("exactly one of targetRefs and targetSelectors is needed")
)]
pub struct AccessPolicySpec {
    /// What it applies to, by name.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind in ['Namespace', 'Service', 'ServiceAccount'] || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a target is a Namespace, Service or ServiceAccount (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)"),
        validation = Rule::new("self.all(t, !has(t.sectionName) || !(t.kind in ['Namespace', 'ServiceAccount']))")
            .message("sectionName is a part of a Service, AgentBackend, Gateway or HTTPRoute")
    )]
    pub target_refs: List<TargetRef, TARGETS_MAX>,
    /// What it applies to, by labels.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(t, t.group == '' && t.kind in ['Service', 'ServiceAccount'] || t.group == 'strait.dev' && t.kind == 'AgentBackend' || t.group == 'gateway.networking.k8s.io' && t.kind in ['Gateway', 'HTTPRoute'])")
            .message("a selected target is a Service or ServiceAccount (group \"\"), an AgentBackend (strait.dev), a Gateway or HTTPRoute (gateway.networking.k8s.io)")
    )]
    pub target_selectors: List<TargetSelector, TARGETS_MAX>,
    /// What its rules do.
    #[x_kube(validation = Rule::new("self != 'ExternalAuth'").message("ExternalAuth is not built yet"))]
    pub action: Action,
    /// Whether it is enforced, or decides and reports only.
    #[serde(default)]
    pub mode: Mode,
    /// Any rule that matches is enough.
    #[x_kube(
        validation = Rule::new("self.all(r, self.exists_one(s, s.name == r.name))")
            .message("each rule has a name of its own")
    )]
    pub rules: List<AccessRule, RULES_MAX>,
}

/// What the rules of an `AccessPolicy` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Action {
    /// They grant.
    Allow,
    /// They refuse, before any Allow is looked at.
    Deny,
    /// An external service is asked. Not built yet.
    ExternalAuth,
}

/// Whether a policy is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Mode {
    /// It decides.
    #[default]
    Enforce,
    /// It decides what would be, and only reports it.
    Audit,
}

/// A rule: who, at what, when. The three must hold together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRule {
    /// Its name, which refusals tell.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub name: Text<63>,
    /// Who: any entry is enough.
    #[x_kube(
        validation = Rule::new("self.all(f, has(f.serviceAccounts) || has(f.serviceAccountSelector) || has(f.namespaces) || has(f.trustDomain) || has(f.identities) || has(f.ipBlocks) || has(f.user) || has(f.anyone))")
            .message("an entry says at least one thing; `anyone: true` is everybody"),
        validation = Rule::new("self.all(f, !has(f.anyone) || !(has(f.serviceAccounts) || has(f.serviceAccountSelector) || has(f.namespaces) || has(f.trustDomain) || has(f.identities) || has(f.ipBlocks) || has(f.user)))")
            .message("`anyone` stands alone in its entry"),
        validation = Rule::new("self.all(f, !has(f.serviceAccountSelector) || !has(f.trustDomain))")
            .message("labels of service accounts are known in the own trust domain only: serviceAccountSelector and trustDomain exclude each other"),
        validation = Rule::new("self.all(f, !has(f.trustDomain) || !has(f.identities) || f.identities.all(i, i.startsWith('spiffe://' + f.trustDomain + '/')))")
            .message("identities of another trust domain than trustDomain match nobody"),
        validation = Rule::new("self.all(f, !has(f.user))").message("user is not built yet")
    )]
    pub from: List<Source, 8>,
    /// What: any entry is enough; left out, it is everything at the target.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(t, has(t.ports) || has(t.http) || has(t.mcp) || has(t.a2a) || has(t.llm))")
            .message("an entry says at least one thing"),
        validation = Rule::new("self.all(t, !has(t.a2a))").message("a2a is not built yet"),
        validation = Rule::new("self.all(t, !has(t.llm))").message("llm is not built yet")
    )]
    pub to: List<Operation, 8>,
    /// A CEL expression over the request, which must be true as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Text<EXPRESSION_MAX>>,
}

/// Who calls. The fields that are there must hold together; in a list, any item is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// `namespace/name`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    )))]
    pub service_accounts: List<Text<317>, 64>,
    /// Service accounts by their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_selector: Option<LabelSelector>,
    /// Namespaces.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")))]
    pub namespaces: List<Text<63>, 64>,
    /// The trust domain in which the names of this entry are meant; left out, it is the target's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[-a-z0-9._]+$"))]
    pub trust_domain: Option<Text<255>>,
    /// SPIFFE identities; `*` is one whole segment, `**` the rest, only at the end.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^spiffe://[-a-z0-9._]+(/([*]|([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,})))*/([*][*]?|([.]*[-A-Za-z0-9_][-A-Za-z0-9._]*|[.]{3,}))$"
    )))]
    pub identities: List<Text<IDENTITY_MAX>, 64>,
    /// Addresses, as CIDR.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(
        validation = Rule::new("self.all(s, isCIDR(s) && cidr(s).masked() == cidr(s))")
            .message("an ipBlock is a CIDR without host bits, for example 10.0.0.0/8")
    )]
    pub ip_blocks: List<Text<64>, 64>,
    /// A verified user. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Everybody, even without an identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("anyone is true or left out"))]
    pub anyone: Option<bool>,
}

/// A verified user of a token. Not built yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// The issuer, by the name under which its keys are configured.
    pub issuer: NameText,
    /// The audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Text<1024>>,
    /// Claims, each with the values that are enough.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub claims: std::collections::BTreeMap<String, List<Text<1024>, 64>>,
    /// Scopes; all are needed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub scopes: List<Text<1024>, 64>,
}

/// What is done. The fields that are there must hold together; in a list, any item is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operation {
    /// Ports of the workload.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[x_kube(validation = Rule::new("self.all(p, p >= 1 && p <= 65535)").message("a port is 1 to 65535"))]
    pub ports: List<u16, 64>,
    /// A request of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.methods) || has(self.paths) || has(self.hosts) || has(self.headers)")
            .message("http says at least one thing")
    )]
    pub http: Option<HttpOperation>,
    /// A message of MCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("has(self.tools) || has(self.prompts) || has(self.resources) || has(self.methods)")
            .message("mcp says at least one thing")
    )]
    pub mcp: Option<McpOperation>,
    /// A message of A2A. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub a2a: Option<A2aOperation>,
    /// A call of a model. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm: Option<LlmOperation>,
}

/// A request of HTTP. The fields that are there must hold together; in a list, any item is enough.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpOperation {
    /// Methods, in upper case.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[A-Z]+(-[A-Z]+)*$")))]
    pub methods: List<Text<64>, 16>,
    /// Paths.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub paths: List<PathMatch, 16>,
    /// Hosts without a port; `*.example.com` is every name below `example.com`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(
        pattern = r"^([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    )))]
    pub hosts: List<NameText, 64>,
    /// Headers; all are needed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub headers: List<HeaderTerm, 8>,
}

/// A path: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.exact), has(self.prefix), has(self.pattern)].filter(x, x).size() == 1")
        .message("exactly one of exact, prefix and pattern is needed")
)]
pub struct PathMatch {
    /// This path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub exact: Option<Text<1024>>,
    /// This path and all below it, by whole segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub prefix: Option<Text<1024>>,
    /// A regular expression (RE2) over the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Text<EXPRESSION_MAX>>,
}

/// A header: its name and exactly one of the other fields.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.exact), has(self.prefix), has(self.pattern)].filter(x, x).size() == 1")
        .message("exactly one of exact, prefix and pattern is needed")
)]
pub struct HeaderTerm {
    /// The header's name; upper and lower case are the same.
    #[schemars(regex(pattern = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"))]
    pub name: Text<256>,
    /// This value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Text<4096>>,
    /// A value that begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Text<4096>>,
    /// A regular expression (RE2) over the whole value; `.*` is every value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Text<EXPRESSION_MAX>>,
}

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

/// Calls of tools: of these names, with these arguments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.names) || has(self.access)").message("names is needed"),
    validation = Rule::new("!has(self.access)").message("access is not built yet: name the tools")
)]
pub struct ToolTerm {
    /// The tools' names. A name may end in `*`: every tool that begins so; `*` alone is every tool.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^*]*[*]?$")))]
    pub names: List<Text<256>, 64>,
    /// What a tool can do, by the catalogue. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ToolAccess>,
    /// Conditions on arguments; all are needed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub arguments: List<ArgumentTerm, 8>,
}

/// What a tool can do, by the catalogue. Not built yet.
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
    validation = Rule::new("has(self.__in__) || has(self.prefix) || has(self.pattern) || has(self.min) || has(self.max) || has(self.absent)")
        .message("at least one of in, prefix, pattern, min, max and absent is needed"),
    validation = Rule::new("!has(self.absent) || !(has(self.__in__) || has(self.prefix) || has(self.pattern) || has(self.min) || has(self.max))")
        .message("absent stands alone"),
    validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max")
        .message("min is greater than max")
)]
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

/// Messages of A2A. Not built yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct A2aOperation {
    /// Methods.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub methods: List<Text<128>, 64>,
    /// Tenants.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub tenants: List<Text<256>, 64>,
    /// Skills.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub skills: List<Text<256>, 64>,
}

/// Calls of models. Not built yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LlmOperation {
    /// Providers.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub providers: List<Text<256>, 64>,
    /// Models.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub models: List<Text<256>, 64>,
}

/// Bounds what the namespaces that it selects may grant.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "ClusterAccessPolicy",
    plural = "clusteraccesspolicies",
    category = "strait",
    status = "PolicyStatus",
    doc = "Bounds what the namespaces that it selects may grant.",
    printcolumn(name = "Kinds", type_ = "string", json_path = ".spec.targetSelector.kinds"),
    printcolumn(name = "Action", type_ = "string", json_path = ".spec.action"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.ancestors[*].conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterAccessPolicySpec {
    /// What it applies to.
    pub target_selector: ClusterTargets,
    /// What its rules do.
    pub action: ClusterAction,
    /// Whether it is enforced, or decides and reports only.
    #[serde(default)]
    pub mode: Mode,
    /// Deny: any rule that matches refuses. Limit: one rule must match.
    #[x_kube(
        validation = Rule::new("self.all(r, self.exists_one(s, s.name == r.name))")
            .message("each rule has a name of its own")
    )]
    pub rules: List<AccessRule, RULES_MAX>,
}

/// What a `ClusterAccessPolicy` applies to: targets of these kinds in these namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterTargets {
    /// Namespaces by their labels; `{}` is every namespace.
    pub namespaces: LabelSelector,
    /// Kinds of targets.
    pub kinds: List<ClusterTargetKind, 8>,
}

/// A kind of target of a `ClusterAccessPolicy`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum ClusterTargetKind {
    /// Every workload of a namespace.
    Namespace,
    /// Services.
    Service,
    /// Workloads by their service account.
    ServiceAccount,
    /// Backends that are not Services.
    AgentBackend,
}

/// What the rules of a `ClusterAccessPolicy` do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ClusterAction {
    /// They refuse, before everything else.
    Deny,
    /// They are a ceiling: one of them must match, whatever else would grant.
    Limit,
}
