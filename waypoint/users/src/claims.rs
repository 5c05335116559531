//! What the claims of a token must say, and whom they name. Pure: the time is an argument.

use std::{sync::Arc, time::Duration};

use mesh::facts::User;
use serde_json::{Map, Value};

use crate::invalid::Invalid;

/// By how much an issuer's clock may be ahead of ours.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// Most audiences or scopes of one token.
const LIST_MAX: usize = 256;
/// Bytes of a subject.
const SUBJECT_BYTES_MAX: usize = 512;

/// What is expected of a token.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The name of its `TokenIssuer`.
    pub name: &'a Arc<str>,
    /// Who issued it, exactly.
    pub issuer: &'a str,
    /// It was issued for one of these.
    pub audiences: &'a [Arc<str>],
    /// And for this resource (RFC 8707: it is in `aud`).
    pub resource: Option<&'a str>,
}

impl Expected<'_> {
    /// Whose the claims are, `now` seconds after the epoch.
    pub(crate) fn check(&self, claims: &Map<String, Value>, now: u64) -> Result<User, Invalid> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer) {
            return Err(Invalid::Issuer);
        }
        let audiences = texts(claims.get("aud"))?.ok_or(Invalid::Audience)?;
        if !self.audiences.iter().any(|one| audiences.contains(one)) {
            return Err(Invalid::Audience);
        }
        if self.resource.is_some_and(|resource| !audiences.iter().any(|one| **one == *resource)) {
            return Err(Invalid::Audience);
        }
        if now >= time(claims, "exp")?.ok_or(Invalid::Expired)? {
            return Err(Invalid::Expired);
        }
        let soon = now.saturating_add(LEEWAY.as_secs());
        for begins in ["nbf", "iat"] {
            if time(claims, begins)?.is_some_and(|at| at > soon) {
                return Err(Invalid::NotYet);
            }
        }
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(Invalid::Subject)?;
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
            return Err(Invalid::Subject);
        }
        let mut scopes = scopes(claims.get("scope"))?;
        scopes.extend(scopes_of(claims.get("scp"))?);
        Ok(User {
            issuer: Arc::clone(self.name),
            subject: subject.into(),
            audiences,
            scopes: scopes.into_iter().collect(),
            claims: Arc::new(Value::Object(claims.clone())),
        })
    }
}

/// A time (RFC 7519, NumericDate): a number of seconds that is not negative and not absurd.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Invalid> {
    const LATEST: f64 = 9_007_199_254_740_992.0;
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) if whole <= LATEST as u64 => Ok(Some(whole)),
            (None, Some(part)) if (0.0..=LATEST).contains(&part) => Ok(Some(part as u64)),
            _ => Err(Invalid::Claims),
        },
        Some(_) => Err(Invalid::Claims),
    }
}

/// A text or a list of texts; an empty list is none.
fn texts(value: Option<&Value>) -> Result<Option<Vec<Arc<str>>>, Invalid> {
    match value {
        None => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one.as_str().into()])),
        Some(Value::Array(list)) if list.len() <= LIST_MAX => {
            let texts: Option<Vec<Arc<str>>> = list.iter().map(|one| one.as_str().map(Arc::from)).collect();
            texts.map(|texts| (!texts.is_empty()).then_some(texts)).ok_or(Invalid::Claims)
        }
        Some(_) => Err(Invalid::Claims),
    }
}

/// Scopes in one text, split at blanks (RFC 8693, section 4.2).
fn scopes(value: Option<&Value>) -> Result<Vec<Arc<str>>, Invalid> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => {
            let scopes: Vec<Arc<str>> = text.split(' ').filter(|it| !it.is_empty()).map(Arc::from).collect();
            if scopes.len() > LIST_MAX { Err(Invalid::Claims) } else { Ok(scopes) }
        }
        Some(_) => Err(Invalid::Claims),
    }
}

/// Scopes as other issuers say them: in one text, or in a list.
fn scopes_of(value: Option<&Value>) -> Result<Vec<Arc<str>>, Invalid> {
    match value {
        Some(Value::Array(_)) => Ok(texts(value)?.unwrap_or_default()),
        other => scopes(other),
    }
}
