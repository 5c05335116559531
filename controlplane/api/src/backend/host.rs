//! A host outside the mesh, as it is.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::upstream::{BackendAuth, BackendTls, HOST_PATTERN, NO_KEY_IN_PUBLIC, PLAIN_OR_TLS, Upstream};
use crate::refs::NameText;

/// A host outside the mesh that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(PLAIN_OR_TLS).message("plaintext and tls exclude each other"),
    validation = Rule::new(NO_KEY_IN_PUBLIC).message("a key is not shown in plain text, unless the host is private")
)]
pub struct HostBackend {
    /// Its DNS name or IPv4 address. It is reached by verified TLS.
    #[schemars(regex(pattern = HOST_PATTERN))]
    pub host: NameText,
    /// Its port; 443 if left out, 80 with `plaintext`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How its certificate is verified; left out, by its name and the roots of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,
    /// No TLS to it: everybody on the way can read and change what is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("plaintext is true or left out"))]
    pub plaintext: Option<bool>,
    /// It may have an address that is not public; else such addresses are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("private is true or left out"))]
    pub private: Option<bool>,
    /// What is shown to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<BackendAuth>,
}

impl HostBackend {
    /// Where it is, as written.
    pub fn upstream(&self) -> Upstream<'_> {
        Upstream {
            service_ref: None,
            host: Some(&self.host),
            port: self.port,
            tls: self.tls.as_ref(),
            plaintext: self.plaintext,
            private: self.private,
        }
    }
}
