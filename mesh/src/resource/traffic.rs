//! How a request is delivered: timeouts, retries, balancing. Resolved by the control plane, field by field.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// A span of time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl From<Millis> for Duration {
    fn from(span: Millis) -> Self {
        Self::from_millis(span.0)
    }
}

/// Everything `MeshTrafficPolicy` and a route say of delivery. What is absent has the proxy's default.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Traffic {
    /// The whole exchange, from the request's head to the response's end; 0: no limit.
    pub request_timeout: Option<Millis>,
    /// One attempt, to the response's head; 0: no limit.
    pub attempt_timeout: Option<Millis>,
    /// Opening a connection.
    pub connect_timeout: Option<Millis>,
    /// Nothing sent in either direction.
    pub idle_timeout: Option<Millis>,
    /// When to try again.
    pub retries: Option<Retries>,
    /// How an endpoint is chosen.
    pub balance: Option<Balance>,
    /// How users are authenticated.
    pub authentication: Option<Authentication>,
}

/// How users are authenticated. A token that is there and not valid is refused in either case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authentication {
    /// True: a request without a valid token is refused with 401.
    pub required: bool,
    /// The `TokenIssuer`s whose tokens are taken, by name.
    pub issuers: Vec<Arc<str>>,
    /// The protected resource (RFC 9728, RFC 8707) that tokens must be for; its metadata is served under
    /// `/.well-known/oauth-protected-resource`.
    pub resource: Option<Arc<str>>,
}

/// When to try again. Only for requests whose body is held or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// Further attempts after the first, 0 to 10.
    pub attempts: u8,
    /// Response codes that are tried again.
    pub codes: Vec<u16>,
    /// The first wait; doubled each time, with jitter.
    pub backoff: Option<Millis>,
}

/// How a waypoint chooses an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// The less busy of two chosen at random. The default.
    LeastRequests,
    /// At random, by capacity.
    Random,
    /// One after the other.
    RoundRobin,
}
