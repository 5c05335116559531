//! `HTTPRoute` of Gateway API 1.7: all core matches and filters, weights, timeouts, retries, mirrors.
//!
//! Fields that exist there and that we do not build yet are parsed, so that `admit` can refuse them by
//! name; fields that do not exist there are refused by the parser.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    bounded::{List, Text},
    gateway::gateway_group,
    period::Period,
    refs::NameText,
};

/// A route of HTTP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRouteSpec {
    /// What it attaches to: Gateways, Services, AgentBackends.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub parent_refs: List<ParentRef, 32, 0>,
    /// The hosts that requests must name; `*.` matches every name below.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub hostnames: List<NameText, 16, 0>,
    /// The rules.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub rules: List<RouteRule, 16>,
    /// Whether default Gateways take it. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<Value>,
}

/// What a route attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// The API group.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// The kind.
    #[serde(default = "gateway_kind")]
    pub kind: String,
    /// The namespace, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text<63>>,
    /// The name.
    pub name: NameText,
    /// A listener of a Gateway, a port of a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<NameText>,
    /// A port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

fn gateway_kind() -> String {
    "Gateway".to_owned()
}

/// A rule: any match is enough, then filters, then backends.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRule {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NameText>,
    /// Matches; without one, every request.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub matches: List<RouteMatch, 64, 0>,
    /// Filters.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub filters: List<RouteFilter, 16, 0>,
    /// Where requests go, by weight.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub backend_refs: List<RouteBackendRef, 16, 0>,
    /// How long is waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<RouteTimeouts>,
    /// What is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RouteRetry>,
    /// Which requests stay with one endpoint. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// A match: all that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteMatch {
    /// The path; left out, every path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RoutePathMatch>,
    /// Headers.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub headers: List<ValueMatch, 16, 0>,
    /// Parameters of the query.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub query_params: List<ValueMatch, 16, 0>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

/// A match of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoutePathMatch {
    /// How it is compared.
    #[serde(default, rename = "type")]
    pub kind: PathMatchType,
    /// With what.
    #[serde(default = "root")]
    pub value: Text<1024>,
}

fn root() -> Text<1024> {
    Text::new("/").expect("one character is neither none nor too many")
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PathMatchType {
    /// As a whole.
    Exact,
    /// By whole segments from its beginning.
    #[default]
    PathPrefix,
    /// By a regular expression (RE2) over the whole.
    RegularExpression,
}

/// A match of a header or of a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueMatch {
    /// How it is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,
    /// The name.
    pub name: Text<256>,
    /// With what.
    pub value: Text<4096>,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ValueMatchType {
    /// As a whole.
    #[default]
    Exact,
    /// By a regular expression (RE2) over the whole.
    RegularExpression,
}

/// A method of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum HttpMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

/// A filter: its type, and the field of that type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteFilter {
    /// Which it is.
    #[serde(rename = "type")]
    pub kind: RouteFilterType,
    /// Changes headers of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes headers of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HeaderModifier>,
    /// Sends a copy of the request elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<RequestMirror>,
    /// Answers with a redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<RequestRedirect>,
    /// Changes host and path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<UrlRewrite>,
    /// Answers for scripts of other origins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Asks an external service. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<Value>,
    /// A filter of another API. Not built yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<Value>,
}

/// Which filter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RouteFilterType {
    /// Changes headers of the request.
    RequestHeaderModifier,
    /// Changes headers of the response.
    ResponseHeaderModifier,
    /// Sends a copy of the request elsewhere.
    RequestMirror,
    /// Answers with a redirect.
    RequestRedirect,
    /// Changes host and path.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// Answers for scripts of other origins.
    #[serde(rename = "CORS")]
    Cors,
    /// Asks an external service. Not built yet.
    ExternalAuth,
    /// A filter of another API. Not built yet.
    ExtensionRef,
}

/// Changes of headers: set, then add, then remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderModifier {
    /// Replaced.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub set: List<HeaderValue, 16, 0>,
    /// Added to what is there.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub add: List<HeaderValue, 16, 0>,
    /// Removed.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub remove: List<Text<256>, 16, 0>,
}

/// A header and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderValue {
    /// The name.
    pub name: Text<256>,
    /// The value.
    pub value: Text<4096>,
}

/// Sends a copy of the request elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMirror {
    /// Where to.
    pub backend_ref: BackendRef,
    /// How many of a hundred requests; left out, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// How many requests of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fraction {
    /// So many.
    pub numerator: u32,
    /// Of so many.
    #[serde(default = "hundred")]
    pub denominator: u32,
}

fn hundred() -> u32 {
    100
}

/// Answers with a redirect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestRedirect {
    /// `http` or `https`; left out, as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// The host; left out, as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<NameText>,
    /// The path; left out, as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// The port; left out, the scheme's or the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
}

/// A scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

/// Changes host and path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UrlRewrite {
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<NameText>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// A change of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathModifier {
    /// Which of the two.
    #[serde(rename = "type")]
    pub kind: PathModifierType,
    /// The whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// What stands for the prefix that matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

/// Which change of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PathModifierType {
    /// The whole path.
    ReplaceFullPath,
    /// The prefix that matched.
    ReplacePrefixMatch,
}

/// Answers for scripts of other origins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cors {
    /// Origins; `*` is every one.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub allow_origins: List<NameText, 64, 0>,
    /// Whether credentials may be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods; `*` is every one.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub allow_methods: List<Text<64>, 9, 0>,
    /// Headers of the request; `*` is every one.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub allow_headers: List<Text<256>, 64, 0>,
    /// Headers of the response that scripts may read.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub expose_headers: List<Text<256>, 64, 0>,
    /// How long a browser may remember the answer, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u32>,
}

/// An object that requests go to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind.
    #[serde(default = "service_kind")]
    pub kind: String,
    /// The name.
    pub name: NameText,
    /// The namespace, if it is another; a ReferenceGrant there must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text<63>>,
    /// The port; needed for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A backend of a rule: an object, its weight, its filters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteBackendRef {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The kind.
    #[serde(default = "service_kind")]
    pub kind: String,
    /// The name.
    pub name: NameText,
    /// The namespace, if it is another; a ReferenceGrant there must allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Text<63>>,
    /// The port; needed for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its part of the sum of all weights.
    #[serde(default = "one")]
    pub weight: u32,
    /// Filters for requests to this backend alone.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub filters: List<RouteFilter, 16, 0>,
}

impl RouteBackendRef {
    /// The object alone.
    pub fn backend(&self) -> BackendRef {
        BackendRef {
            group: self.group.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            port: self.port,
        }
    }
}

fn service_kind() -> String {
    "Service".to_owned()
}

fn one() -> u32 {
    1
}

/// How long is waited. Zero is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteTimeouts {
    /// For the whole request, all attempts together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Period>,
    /// For one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Period>,
}

/// What is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteRetry {
    /// Statuses that are tried again.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub codes: List<u16, 64, 0>,
    /// How often, after the first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The least wait between two attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Period>,
}

/// Which requests stay with one endpoint. Not built yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionPersistence {
    /// The name of its cookie or header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_name: Option<Text<128>>,
    /// The longest it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Period>,
    /// The longest it lasts without a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Period>,
    /// What carries it.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<SessionPersistenceType>,
    /// How long the cookie lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SessionPersistenceType {
    /// A cookie.
    Cookie,
    /// A header.
    Header,
}

/// How long a cookie lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CookieConfig {
    /// `Session` or `Permanent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetime>,
}

/// How long a cookie lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CookieLifetime {
    /// Until it expires.
    Permanent,
    /// Until the browser ends.
    Session,
}
