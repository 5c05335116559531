//! The one credential that a request brings. It is taken out of the request, so that it goes no further.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{invalid::Invalid, token::TOKEN_BYTES_MAX};

/// What a request says of who sends it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A bearer token (RFC 6750).
    Bearer(Arc<str>),
    /// A key in a header of its own.
    Key {
        /// The header.
        header: HeaderName,
        /// The key.
        value: Arc<str>,
    },
}

impl Credential {
    /// Takes the credential out of these headers: `Authorization`, and the headers of keys that are named.
    ///
    /// # Errors
    /// When there is more than one, or none that can be read. The headers are gone in either case.
    pub fn take(headers: &mut HeaderMap, keys: &[HeaderName]) -> Result<Option<Self>, Invalid> {
        let mut found = Vec::new();
        let names: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in names {
            let Some(meant) = meant(&name, keys) else { continue };
            found.extend(headers.get_all(&name).iter().map(|value| (meant.clone(), value.clone())));
            headers.remove(&name);
        }
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((name, value)), None) => read(name, &value).map(Some),
            // RFC 6750, section 2: not more than one; and of two, two readers could take different ones.
            (Some(_), Some(_)) => Err(Invalid::Several),
        }
    }
}

/// The header of credentials that this one is, for applications that cannot tell a hyphen from an underscore too
/// (RFC 3875, section 4.1.18).
fn meant(name: &HeaderName, keys: &[HeaderName]) -> Option<HeaderName> {
    let same = |one: &HeaderName| one.as_str().replace('_', "-") == name.as_str().replace('_', "-");
    std::iter::once(&header::AUTHORIZATION).chain(keys).find(|one| same(one)).cloned()
}

fn read(name: HeaderName, value: &HeaderValue) -> Result<Credential, Invalid> {
    if value.len() > TOKEN_BYTES_MAX {
        return Err(Invalid::TooLong);
    }
    let text = value.to_str().map_err(|_| Invalid::NoToken)?;
    if name != header::AUTHORIZATION {
        return if text.is_empty() {
            Err(Invalid::NoToken)
        } else {
            Ok(Credential::Key { header: name, value: text.into() })
        };
    }
    let (scheme, token) = text.split_once(' ').ok_or(Invalid::NoBearer)?;
    let token = token.trim_start_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Invalid::NoBearer);
    }
    // RFC 6750, section 2.1: b64token.
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(sound) {
        return Err(Invalid::NoToken);
    }
    Ok(Credential::Bearer(token.into()))
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bearer(_) => out.write_str("Bearer(hidden)"),
            Self::Key { header, .. } => write!(out, "Key({header}: hidden)"),
        }
    }
}
