//! Access policies: one object's rules, with every name resolved.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BackendTarget, HostPattern, Millis, NamedMatch, PathMatch, PortRange, TextMatch, ToolAccess};
use crate::{identity::IdentityPattern, names::ObjectName};

/// The rules of one access policy object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The object.
    pub name: ObjectName,
    /// What a rule that matches does.
    pub action: Action,
    /// Whether it decides or only reports.
    pub mode: Mode,
    /// Set: the object cannot be realised, and denies whatever it targets, for this reason.
    pub broken: Option<Arc<str>>,
    /// The rules, any of which may match.
    pub rules: Vec<Rule>,
    /// Who is asked, if the action is [`Action::ExternalAuth`].
    pub authorizer: Option<Authorizer>,
}

/// An external authorizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorizer {
    /// Where it is.
    pub target: BackendTarget,
    /// What it speaks.
    pub protocol: AuthorizerProtocol,
    /// How long its answer may take.
    pub timeout: Millis,
    /// Request headers that it is told; for gRPC, empty means all but those that carry secrets of ours.
    pub headers: Vec<Arc<str>>,
    /// Headers of its answer that go on upstream (HTTP only; gRPC names them itself).
    pub upstream_headers: Vec<Arc<str>>,
    /// Bytes of the request's body that it is told; 0: none. A longer body is refused.
    pub body_bytes: u32,
}

/// What an external authorizer speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum AuthorizerProtocol {
    /// `envoy.service.auth.v3.Authorization/Check`.
    Grpc,
    /// A request with the same method and headers, at this path before its own; 200 is yes.
    Http {
        /// Goes before the request's path.
        path_prefix: Arc<str>,
    },
}

/// What a policy does where a rule of it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Grants.
    Allow,
    /// Refuses.
    Deny,
    /// Bounds what others may grant: where no rule of it matches, it refuses.
    Limit,
    /// Asks an external authorizer, whose yes is needed too; it grants nothing.
    ExternalAuth,
}

/// Whether a policy decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It is judged and reported, and decides nothing.
    Audit,
}

/// One rule: somebody, something, and a condition. All three must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: Arc<str>,
    /// Who: any of these.
    pub from: Vec<Source>,
    /// What: any of these. Absent: everything at the target. Empty: nothing.
    pub to: Option<Vec<Operation>>,
    /// A CEL expression that must be true.
    pub when: Option<Arc<str>>,
}

/// Who: every part that is present must hold. With none present it matches nobody.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Each of these must hold.
    pub principals: Vec<Principals>,
    /// The source address is in one of these. Empty: matches no address.
    pub ip_blocks: Option<Vec<IpNet>>,
    /// A user whose token was verified. A Deny matches also when there is none.
    pub user: Option<UserTerm>,
    /// True: anyone, proven or not.
    pub anyone: bool,
}

/// A condition on a verified user: every part that is present must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserTerm {
    /// The name of the `TokenIssuer`.
    pub issuer: Arc<str>,
    /// The token was issued for it.
    pub audience: Option<Arc<str>>,
    /// Claims by name, dots leading into objects; the claim, or an item of it if it is a list, equals one of these.
    pub claims: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// All of these scopes.
    pub scopes: Vec<Arc<str>>,
}

/// Identities, as one field of the object named them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principals {
    /// The field: `serviceAccounts`, `serviceAccountSelector`, `namespaces`, `trustDomain`, `identities`.
    pub field: Arc<str>,
    /// The proven identity matches one of these. Empty: matches nobody.
    pub any_of: Vec<IdentityPattern>,
}

/// What: every part that is present must hold. With none present it matches everything.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Operation {
    /// The destination port is in one of these.
    pub ports: Option<Vec<PortRange>>,
    /// A condition on an HTTP request.
    pub http: Option<HttpTerm>,
    /// A condition on an MCP message.
    pub mcp: Option<McpTerm>,
    /// A condition on an A2A message.
    pub a2a: Option<A2aTerm>,
    /// A condition on a call of a model.
    pub llm: Option<LlmTerm>,
}

/// A condition on an A2A message: every part that is present must hold. A grant by it brings the filtered card.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct A2aTerm {
    /// The method is one of these, by the names of A2A 1.0.
    pub methods: Option<Vec<Arc<str>>>,
    /// The tenant is named and matches one of these.
    pub tenants: Option<Vec<TextMatch>>,
    /// The skill matches one of these.
    pub skills: Option<Vec<TextMatch>>,
}

/// A condition on a call of a model: every part that is present must hold. A grant by it brings the filtered list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmTerm {
    /// The provider that is really used matches one of these.
    pub providers: Option<Vec<TextMatch>>,
    /// The model that is really used, by the provider's own name, matches one of these.
    pub models: Option<Vec<TextMatch>>,
}

/// A condition on an HTTP request: every part that is present must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpTerm {
    /// The method is one of these.
    pub methods: Option<Vec<Arc<str>>>,
    /// The path, without query, matches one of these.
    pub paths: Option<Vec<PathMatch>>,
    /// The host, without port, matches one of these.
    pub hosts: Option<Vec<HostPattern>>,
    /// Each of these headers matches.
    pub headers: Option<Vec<NamedMatch>>,
}

/// A condition on an MCP message: one of the parts that are present must hold, since a message is of one sort.
/// With none present it matches every message. A grant by it brings the base protocol and filtered lists.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct McpTerm {
    /// A call of one of these tools.
    pub tools: Option<Vec<ToolTerm>>,
    /// A use of one of these prompts.
    pub prompts: Option<Vec<TextMatch>>,
    /// A use of a resource whose URI matches one of these.
    pub resources: Option<Vec<TextMatch>>,
    /// A message of one of these methods.
    pub methods: Option<Vec<Arc<str>>>,
}

/// A call of one of these tools with arguments as said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolTerm {
    /// The tool's name matches one of these. Empty only where `access` says something: any tool.
    pub names: Vec<TextMatch>,
    /// What the tool can do, as the catalogue says. One that no catalogue knows does not match in an Allow and matches
    /// in a Deny.
    pub access: Option<ToolAccess>,
    /// Each of these must hold.
    pub arguments: Vec<ArgumentTerm>,
}

/// A condition on one argument. A missing or wrongly typed one does not match in an Allow and matches in a Deny.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgumentTerm {
    /// A JSON pointer (RFC 6901) into the call's arguments.
    pub path: Arc<str>,
    /// What must hold there.
    pub test: ArgumentTest,
}

/// What must hold of an argument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ArgumentTest {
    /// It equals one of these values.
    In(Vec<Value>),
    /// It is a string that begins so.
    Prefix(Arc<str>),
    /// It is a string that as a whole matches the regular expression.
    Pattern(Arc<str>),
    /// It is a number of at least this.
    Min(f64),
    /// It is a number of at most this.
    Max(f64),
    /// It is not there (true), or it is there (false).
    Absent(bool),
}
