//! Issuers of tokens and keys for users, defined once.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::BackendTarget;
use crate::names::ObjectName;

/// One TokenIssuer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The object; policies name it by its short name.
    pub name: ObjectName,
    /// Set: the object cannot be realised; none of its tokens is valid, for this reason.
    pub broken: Option<Arc<str>>,
    /// What it issues.
    pub kind: IssuerKind,
}

/// What an issuer issues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum IssuerKind {
    /// JSON Web Tokens (RFC 7519).
    Jwt {
        /// The claim `iss`.
        issuer: Arc<str>,
        /// The claim `aud` must hold one of these. Never empty.
        audiences: Vec<Arc<str>>,
        /// Its keys.
        keys: JwtKeys,
        /// Where a client gets a token (RFC 9728 `authorization_servers`); the issuer if absent.
        authorization_server: Option<Arc<str>>,
    },
    /// Opaque keys, known by their SHA-256 (lower-case hex).
    ApiKeys {
        /// The header that carries a key; `authorization` means a bearer token.
        header: Arc<str>,
        /// By digest: the subject that the key stands for, and its further claims.
        keys: BTreeMap<Arc<str>, ApiKey>,
    },
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JwtKeys {
    /// Here: a JWK set (RFC 7517) in JSON.
    Inline(Arc<str>),
    /// Fetched.
    Fetched {
        /// Where.
        target: BackendTarget,
        /// The path.
        path: Arc<str>,
    },
}

/// For whom an API key stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The subject.
    pub subject: Arc<str>,
    /// Further claims.
    pub claims: BTreeMap<Arc<str>, serde_json::Value>,
}
