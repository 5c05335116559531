//! Where a server, an agent or a provider is: a Service, or a host outside the mesh; and what is shown to it.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bounded::Text,
    refs::{NameText, ServiceRef},
};

/// The port of a host that is reached by TLS, where none is written.
pub const PORT_TLS: u16 = 443;
/// The port of a host that is reached in plain text, where none is written.
pub const PORT_PLAINTEXT: u16 = 80;
/// The key of a Secret that holds what is shown, where none is written.
pub const AUTH_KEY: &str = "token";
/// The key of a Secret that holds roots, where none is written.
pub const ROOTS_KEY: &str = "ca.crt";

/// A host: a lower-case DNS name or an IPv4 address.
pub(crate) const HOST_PATTERN: &str =
    r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// A path of a URL.
pub(crate) const PATH_PATTERN: &str = r"^/[^?#\s]*$";

/// Exactly one of the two is written.
pub(crate) const ONE_PLACE: &str = "has(self.serviceRef) != has(self.host)";
/// What belongs to a host stands with a host.
pub(crate) const HOST_FIELDS: &str =
    "!has(self.serviceRef) || !(has(self.port) || has(self.tls) || has(self.plaintext) || has(self.private))";
/// Plain text has no TLS.
pub(crate) const PLAIN_OR_TLS: &str = "!has(self.plaintext) || !has(self.tls)";
/// A key is not shown to everybody on a public way.
pub(crate) const NO_KEY_IN_PUBLIC: &str = "!has(self.auth) || !has(self.plaintext) || has(self.private)";

/// A header's name; upper and lower case are the same.
pub(crate) const HEADER_PATTERN: &str = r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+$";
/// The proxy alone sets headers of the hop, and those that carry an identity.
pub(crate) const NOT_OURS: &str = "!self.matches('(?i)^(connection|content-length|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|x-forwarded-client-cert|x-strait-origin|x-strait-denied)$')";

/// The fields by which an object says where something is, as written.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// A Service.
    pub service_ref: Option<&'a ServiceRef>,
    /// A host.
    pub host: Option<&'a NameText>,
    /// The host's port.
    pub port: Option<u16>,
    /// TLS to the host.
    pub tls: Option<&'a BackendTls>,
    /// No TLS to the host.
    pub plaintext: Option<bool>,
    /// The host may have a private address.
    pub private: Option<bool>,
}

/// Where something is, with everything that was left out filled in.
#[derive(Debug, Clone, Copy)]
pub enum UpstreamPlace<'a> {
    /// A port of a Service.
    Service(&'a ServiceRef),
    /// A host outside the mesh.
    Host {
        /// Its name, or an IPv4 address.
        host: &'a str,
        /// Its port.
        port: u16,
        /// Verified TLS; absent: plain text, which the object had to say.
        tls: Option<UpstreamTls<'a>>,
        /// Whether it may have an address that is not public.
        private: bool,
    },
}

/// How the certificate of a host is verified.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamTls<'a> {
    /// The name that it must have.
    pub hostname: &'a str,
    /// The Secret that holds the roots; absent: those of the system.
    pub roots: Option<&'a SecretKeyRef>,
}

impl<'a> Upstream<'a> {
    /// Where it is; nothing if neither a Service nor a host is written.
    pub fn place(&self) -> Option<UpstreamPlace<'a>> {
        if let Some(service) = self.service_ref {
            return Some(UpstreamPlace::Service(service));
        }
        let host = self.host?.as_str();
        let plaintext = self.plaintext == Some(true);
        let hostname = self.tls.and_then(|tls| tls.hostname.as_deref()).unwrap_or(host);
        let roots = self.tls.and_then(|tls| tls.ca_secret_ref.as_ref());
        Some(UpstreamPlace::Host {
            host,
            port: self.port.unwrap_or(if plaintext { PORT_PLAINTEXT } else { PORT_TLS }),
            tls: (!plaintext).then_some(UpstreamTls { hostname, roots }),
            private: self.private == Some(true),
        })
    }
}

/// Gives a type that has the fields of [`Upstream`] the method that borrows them.
macro_rules! upstream {
    ($of:ty) => {
        impl $of {
            /// Where it is, as written.
            pub fn upstream(&self) -> $crate::backend::Upstream<'_> {
                $crate::backend::Upstream {
                    service_ref: self.service_ref.as_ref(),
                    host: self.host.as_ref(),
                    port: self.port,
                    tls: self.tls.as_ref(),
                    plaintext: self.plaintext,
                    private: self.private,
                }
            }
        }
    };
}
pub(crate) use upstream;

/// TLS to a host: its certificate is always verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendTls {
    /// The name that its certificate must have; the host if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = HOST_PATTERN))]
    pub hostname: Option<NameText>,
    /// The Secret of the same namespace that holds the roots, in PEM (key `ca.crt` if none is named); left out,
    /// those of the system are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,
}

/// What a gateway shows to an upstream. Callers' own credentials are never sent on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.header) == (has(self.scheme) && self.scheme == 'Header')")
        .message("header is the header of scheme Header, which needs it")
)]
pub struct BackendAuth {
    /// The Secret of the same namespace that holds it; key `token` if none is named.
    pub secret_ref: SecretKeyRef,
    /// How it is shown; left out, as the upstream's API has it, else `Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<AuthScheme>,
    /// The header of `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(NOT_OURS)
            .message("this header is set by the proxy alone")
    )]
    #[schemars(regex(pattern = HEADER_PATTERN))]
    pub header: Option<Text<256>>,
}

/// How a secret is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum AuthScheme {
    /// `Authorization: Bearer SECRET`.
    Bearer,
    /// As the value of a header.
    Header,
}

/// A key of a Secret of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret.
    #[schemars(regex(pattern = HOST_PATTERN))]
    pub name: NameText,
    /// The key in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: Option<NameText>,
}
