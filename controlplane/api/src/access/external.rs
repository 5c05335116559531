//! `ExternalAuth`: whom a policy asks before it lets something pass.

use std::time::Duration;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    backend::upstream::{HEADER_PATTERN, PATH_PATTERN},
    bounded::{List, Text},
    period::Period,
    refs::ServiceRef,
};

/// How long an answer is waited for, where nothing is written.
pub const EXTERNAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of a body that can be told.
pub const EXTERNAL_BODY_MAX: u32 = 1 << 20;

/// Who is asked, and what it is told. What it does not answer in time is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.grpc) != has(self.http)").message("exactly one of grpc and http is needed")
)]
pub struct ExternalAuth {
    /// It speaks Envoy's protocol, `envoy.service.auth.v3.Authorization/Check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuth>,
    /// It is sent the head of each request, and says yes by 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuth>,
    /// Headers of the request that it is told. Left out: by gRPC all, by HTTP none but the host,
    /// the method and `authorization`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = HEADER_PATTERN)))]
    pub headers: List<Text<256>, 64>,
    /// How long its answer may take, 1ms to 60s; 1s if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("duration(self) > duration('0s') && duration(self) <= duration('60s')")
            .message("an answer may take 1ms to 60s")
    )]
    pub timeout: Option<Period>,
    /// Bytes of the request's body that it is told; a longer body is refused. None if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = EXTERNAL_BODY_MAX))]
    pub body_bytes: Option<u32>,
}

impl ExternalAuth {
    /// The Service that is asked.
    pub fn service_ref(&self) -> Option<&ServiceRef> {
        let grpc = self.grpc.as_ref().map(|grpc| &grpc.service_ref);
        grpc.or_else(|| self.http.as_ref().map(|http| &http.service_ref))
    }

    /// How long its answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.map_or(EXTERNAL_TIMEOUT, Period::duration)
    }

    /// Bytes of the request's body that it is told.
    pub fn body_bytes(&self) -> u32 {
        self.body_bytes.unwrap_or(0)
    }
}

/// An authorizer that speaks Envoy's protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcAuth {
    /// The Service that serves it.
    pub service_ref: ServiceRef,
}

/// An authorizer that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpAuth {
    /// The Service that serves it.
    pub service_ref: ServiceRef,
    /// Goes before the path of the request; nothing if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = PATH_PATTERN))]
    pub path: Option<Text<1024>>,
    /// Headers of its answer that go on to the backend.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(inner(regex(pattern = HEADER_PATTERN)))]
    #[x_kube(
        validation = Rule::new("self.all(h, !h.matches('(?i)^(connection|content-length|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|x-forwarded-client-cert|x-strait-origin|x-strait-denied)$'))")
            .message("such a header is set by the proxy alone")
    )]
    pub upstream_headers: List<Text<256>, 64>,
}

impl HttpAuth {
    /// What goes before the path of the request, without a slash at its end.
    pub fn path_prefix(&self) -> &str {
        self.path.as_deref().unwrap_or_default().trim_end_matches('/')
    }
}
