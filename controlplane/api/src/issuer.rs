//! `TokenIssuer`: who issues the tokens and keys of users.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{
    backend::upstream::{HEADER_PATTERN, NOT_OURS, PATH_PATTERN},
    bounded::{List, Text},
    refs::{NameText, ServiceRef},
    status::ConditionsStatus,
};

/// Longest JWK set that is written inline.
pub const JWKS_MAX: usize = 65_536;
/// The header that carries a key, where none is written.
pub const API_KEY_HEADER: &str = "x-api-key";

/// Says who issues tokens or keys of users, and how they are verified; policies name it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "strait.dev",
    version = "v1alpha1",
    kind = "TokenIssuer",
    plural = "tokenissuers",
    category = "strait",
    status = "ConditionsStatus",
    doc = "Says who issues tokens or keys of users, and how they are verified.",
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.jwt.issuer"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Programmed\")].status"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.jwt) != has(self.apiKeys)").message("exactly one of jwt and apiKeys is needed")
)]
pub struct TokenIssuerSpec {
    /// It issues JSON Web Tokens (RFC 7519).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtIssuer>,
    /// It issues opaque keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
}

/// An issuer of JSON Web Tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtIssuer {
    /// What tokens say as `iss`, to the letter.
    pub issuer: Text<1024>,
    /// Audiences; a token's `aud` names at least one of them.
    #[x_kube(
        validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message("an audience stands there once")
    )]
    pub audiences: List<Text<1024>, 16>,
    /// Its public keys.
    pub jwks: Jwks,
    /// Where clients get a token (RFC 9728), a URL; the issuer if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://[^/?#\s]+(/[^?#\s]*)?$"))]
    pub authorization_server: Option<Text<1024>>,
}

/// Public keys: exactly one of `inline`, `url` and `serviceRef`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.inline), has(self.url), has(self.serviceRef)].filter(x, x).size() == 1")
        .message("exactly one of inline, url and serviceRef is needed"),
    validation = Rule::new("has(self.path) == has(self.serviceRef)")
        .message("path is the path at the Service of serviceRef, which needs it"),
    validation = Rule::new("!has(self.private) || has(self.url)").message("private belongs to a url"),
    validation = Rule::new("!has(self.serviceRef) || has(self.serviceRef.__namespace__)")
        .message("an issuer stands in no namespace, so serviceRef needs one")
)]
pub struct Jwks {
    /// The JWK set (RFC 7517) itself, as JSON in a text. Public keys only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<Text<JWKS_MAX>>,
    /// Where the set is, by verified TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(
        pattern = r"^https://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*(:[0-9]{1,5})?(/[^#\s]*)?$"
    ))]
    pub url: Option<Text<1024>>,
    /// The host of `url` may have an address that is not public; else such addresses are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self").message("private is true or left out"))]
    pub private: Option<bool>,
    /// The Service that serves the set, with its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// The path of the set at `serviceRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = PATH_PATTERN))]
    pub path: Option<Text<1024>>,
}

/// Opaque keys, each an entry of a Secret: the entry's name is the subject, its value the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeys {
    /// The header that carries a key; `x-api-key` if left out; `authorization` is a bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(NOT_OURS)
            .message("this header is set by the proxy alone")
    )]
    #[schemars(regex(pattern = HEADER_PATTERN))]
    pub header: Option<Text<256>>,
    /// The Secret. Proxies are told digests of the keys alone.
    pub secret_ref: NamespacedSecretRef,
}

impl ApiKeys {
    /// The header that carries a key, in lower case.
    pub fn header(&self) -> String {
        self.header.as_deref().unwrap_or(API_KEY_HEADER).to_ascii_lowercase()
    }
}

/// A Secret, named from outside any namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespacedSecretRef {
    /// Its namespace.
    #[schemars(regex(pattern = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
    pub namespace: Text<63>,
    /// Its name.
    pub name: NameText,
}
