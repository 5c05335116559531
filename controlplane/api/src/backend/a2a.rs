//! An agent of A2A.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::upstream::{BackendTls, HOST_FIELDS, HOST_PATTERN, ONE_PLACE, PLAIN_OR_TLS, upstream};
use crate::{
    bounded::Text,
    refs::{NameText, ServiceRef},
};

/// An agent of A2A: a Service, or a host outside the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(ONE_PLACE).message("exactly one of serviceRef and host is needed"),
    validation = Rule::new(HOST_FIELDS).message("port, tls, plaintext and private belong to a host"),
    validation = Rule::new(PLAIN_OR_TLS).message("plaintext and tls exclude each other")
)]
pub struct A2aBackend {
    /// The Service that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// The host that serves it: a DNS name or an IPv4 address. It is reached by verified TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HOST_PATTERN))]
    pub host: Option<NameText>,
    /// The host's port; 443 if left out, 80 with `plaintext`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How the host's certificate is verified; left out, by its name and the roots of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// No TLS to the host: everybody on the way can read and change what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("plaintext is true or left out"))]
    pub plaintext: Option<bool>,
    /// The host may have an address that is not public; else such addresses are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("private is true or left out"))]
    pub private: Option<bool>,
    /// Where a message says which skill it wants; left out, conditions on skills only filter the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skill_source: Option<SkillSource>,
}

upstream!(A2aBackend);

/// Where a message says which skill it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SkillSource {
    /// A JSON pointer (RFC 6901) into the parameters of a call.
    #[schemars(regex(pattern = r"^(/([^/~]|~0|~1)*)+$"))]
    pub pointer: Text<256>,
}
