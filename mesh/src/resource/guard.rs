//! Guards: what content may pass.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BackendTarget, Millis, Mode};
use crate::names::ObjectName;

/// One GuardPolicy. What fails while it looks is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The object.
    pub name: ObjectName,
    /// Whether it decides or only reports.
    pub mode: Mode,
    /// Set: the object cannot be realised, and refuses all content, for this reason.
    pub broken: Option<Arc<str>>,
    /// What is looked for in texts.
    pub patterns: Vec<GuardPattern>,
    /// Bounds of sizes.
    pub sizes: GuardSizes,
    /// The origins (RFC 6454) that may call; absent: only the host that was called. Requests without one pass.
    pub origins: Option<Vec<Arc<str>>>,
    /// Who else is asked.
    pub external: Option<ExternalGuard>,
}

/// What is looked for in texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardPattern {
    /// Its name, which refusals tell.
    pub name: Arc<str>,
    /// What it finds.
    pub finds: Finds,
    /// In which direction.
    pub direction: Direction,
    /// What becomes of it.
    pub action: GuardAction,
}

/// What a pattern finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Finds {
    /// Electronic mail addresses.
    Email,
    /// Numbers of payment cards whose check digit is right.
    CreditCard,
    /// Social security numbers of the United States.
    UsSsn,
    /// Telephone numbers in international form.
    PhoneNumber,
    /// IBANs whose check digits are right.
    Iban,
    /// Internet addresses, version 4 and 6.
    IpAddress,
    /// Keys and tokens in the forms that well-known issuers give them, and private keys in PEM.
    Secret,
    /// A regular expression anywhere in the text.
    Regex(Arc<str>),
}

/// Which way content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// From the caller.
    Request,
    /// To the caller.
    Response,
    /// Either.
    Both,
}

/// What becomes of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardAction {
    /// The content is refused.
    Refuse,
    /// It is replaced by `[NAME]`.
    Mask,
}

/// Bounds of sizes, in bytes. What is absent has the proxy's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSizes {
    /// Of a request's body.
    pub request: Option<u64>,
    /// Of a response's body, or of one message of a stream.
    pub response: Option<u64>,
}

/// A guard that is asked by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalGuard {
    /// Where it is.
    pub target: BackendTarget,
    /// The path to which content is posted.
    pub path: Arc<str>,
    /// How long its answer may take.
    pub timeout: Millis,
    /// In which direction it is asked.
    pub direction: Direction,
}
