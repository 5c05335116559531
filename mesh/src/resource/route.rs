//! HTTP routes, as the Gateway API says them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{HostPattern, NamedMatch, PathMatch, Traffic};
use crate::names::{Hostname, ObjectName, ServiceKey, SetName};

/// One HTTPRoute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The object.
    pub name: ObjectName,
    /// When it was created, RFC 3339 in UTC; older routes win ties.
    pub created: Option<Arc<str>>,
    /// Where it is attached.
    pub parents: Vec<RouteParent>,
    /// The hosts that it serves; none: all of the parent.
    pub hostnames: Vec<HostPattern>,
    /// Its rules.
    pub rules: Vec<RouteRule>,
    /// The policies on the route.
    pub set: SetName,
}

/// Where a route is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RouteParent {
    /// To a listener of a Gateway.
    Listener {
        /// The Gateway.
        gateway: ObjectName,
        /// The listener.
        listener: Arc<str>,
    },
    /// To a service: requests addressed to it.
    Service {
        /// The service.
        service: ServiceKey,
        /// Only this port.
        port: Option<u16>,
    },
}

/// One rule of a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Any of these must match. Never empty: the control plane writes the default.
    pub matches: Vec<RouteMatch>,
    /// What is done to request and response.
    pub filters: Vec<RouteFilter>,
    /// Where it goes, by weight.
    pub backends: Vec<WeightedBackend>,
    /// Timeouts and retries.
    pub traffic: Traffic,
    /// Set: the rule cannot be realised and answers 500, for this reason.
    pub broken: Option<Arc<str>>,
}

/// One match: every part that is present must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteMatch {
    /// The path, without query.
    pub path: PathMatch,
    /// The method.
    pub method: Option<Arc<str>>,
    /// Headers, each of which must match.
    pub headers: Vec<NamedMatch>,
    /// Query parameters, each of which must match.
    pub query: Vec<NamedMatch>,
}

/// A place where a request can go, with its share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedBackend {
    /// Where.
    pub target: BackendTarget,
    /// Its share of the sum of weights; 0: none.
    pub weight: u32,
    /// Filters for requests that go here only.
    pub filters: Vec<RouteFilter>,
    /// How it is delivered.
    pub traffic: Traffic,
}

/// What a route or agent backend points to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum BackendTarget {
    /// A port of a service.
    Service {
        /// The service.
        service: ServiceKey,
        /// The port.
        port: u16,
    },
    /// An AgentBackend.
    Agent(ObjectName),
    /// A host outside the mesh.
    Host(ExternalHost),
    /// It does not resolve: requests get 500, for this reason.
    Broken(Arc<str>),
}

/// A host outside the mesh, reached by the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalHost {
    /// Its name, or an address.
    pub host: Hostname,
    /// The port.
    pub port: u16,
    /// Verified TLS; absent: plain text, which the object had to say.
    pub tls: Option<HostTls>,
    /// True: it may resolve to addresses that are not public (loopback, link-local, private, shared). Else they are
    /// refused, after each resolution.
    pub private: bool,
}

/// How the certificate of an outside host is verified.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostTls {
    /// The name that the certificate must have, and the SNI.
    pub hostname: Hostname,
    /// Roots in PEM; absent: those of the system.
    pub roots: Option<Arc<str>>,
}

/// What is done to a request or its response (Gateway API HTTPRoute filters).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RouteFilter {
    /// Edits request headers.
    RequestHeaders(HeaderEdit),
    /// Edits response headers.
    ResponseHeaders(HeaderEdit),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Rewrites host or path.
    Rewrite(Rewrite),
    /// Sends a copy elsewhere and drops the answer.
    Mirror(Mirror),
    /// Answers preflights and marks responses (Gateway API CORS filter).
    Cors(Cors),
}

/// Edits of headers: set, then add, then remove.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdit {
    /// Replaces all values.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Adds a value.
    pub add: Vec<(Arc<str>, Arc<str>)>,
    /// Removes all values.
    pub remove: Vec<Arc<str>>,
}

/// A redirect. What is absent is kept from the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// The host.
    pub hostname: Option<Arc<str>>,
    /// The port.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// A rewrite. What is absent is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The host.
    pub hostname: Option<Arc<str>>,
    /// The path.
    pub path: Option<PathRewrite>,
}

/// How a path is rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum PathRewrite {
    /// The whole path.
    Full(Arc<str>),
    /// The prefix that the rule matched.
    Prefix(Arc<str>),
}

/// A mirror: of `numerator` in `denominator` requests a copy is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Where the copy goes.
    pub target: BackendTarget,
    /// How many.
    pub numerator: u32,
    /// Of how many, at least 1.
    pub denominator: u32,
}

/// Cross-origin rules (Fetch standard, CORS protocol).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// Allowed origins; `*` alone or with a leading label wildcard.
    pub allow_origins: Vec<Arc<str>>,
    /// Allowed methods.
    pub allow_methods: Vec<Arc<str>>,
    /// Allowed request headers.
    pub allow_headers: Vec<Arc<str>>,
    /// Headers that scripts may read.
    pub expose_headers: Vec<Arc<str>>,
    /// Whether credentials are allowed.
    pub allow_credentials: bool,
    /// For how long a preflight may be kept, in seconds.
    pub max_age: Option<u32>,
}
