//! A JSON Web Token as it arrives: cut into its parts and read strictly. Nothing of it is believed yet.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::{invalid::Invalid, strict};

/// Bytes of a token or key; a longer one is refused before it is read.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a key's id.
const KID_BYTES_MAX: usize = 256;

/// A token that can be read.
#[derive(Debug)]
pub struct Token<'a> {
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// By which key. It is compared with the ids of keys that we hold, and with nothing else.
    pub kid: Option<String>,
    /// What it says.
    pub claims: Map<String, Value>,
    /// What is signed.
    pub(crate) message: &'a str,
    /// The signature, in base64.
    pub(crate) signature: &'a str,
}

impl<'a> Token<'a> {
    /// Reads a token in compact form (RFC 7515, section 3.1).
    ///
    /// # Errors
    /// When it can be read in no way, in more than one, or demands what we do not do.
    pub fn read(text: &'a str) -> Result<Self, Invalid> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Invalid::TooLong);
        }
        let mut parts = text.split('.');
        let (Some(head), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Invalid::NoToken);
        };
        let message = &text[..head.len() + 1 + claims.len()];
        let head = part(head)?;
        let (algorithm, kid) = header(&head)?;
        Ok(Self { algorithm, kid, claims: part(claims)?, message, signature })
    }

    /// Who it says issued it.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }
}

fn part(text: &str) -> Result<Map<String, Value>, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::NoToken)?;
    strict::object(&bytes).ok_or(Invalid::NoToken)
}

/// `jku`, `x5u`, `jwk` and `x5c` are not looked at: a token does not bring the key that it is verified with.
fn header(head: &Map<String, Value>) -> Result<(Algorithm, Option<String>), Invalid> {
    let algorithm = head.get("alg").and_then(Value::as_str).and_then(algorithm_of);
    let algorithm = algorithm.ok_or(Invalid::Algorithm)?;
    // RFC 7515, section 4.1.11: what is critical must be understood, and we understand none.
    if head.contains_key("crit") {
        return Err(Invalid::Critical);
    }
    // RFC 8725, section 3.11: tokens of other sorts (logout, DPoP, security events) are no access tokens.
    let sort = match head.get("typ") {
        None => None,
        Some(Value::String(sort)) => Some(sort.to_ascii_lowercase()),
        Some(_) => return Err(Invalid::Sort),
    };
    let known = sort.as_deref().map(|sort| sort.strip_prefix("application/").unwrap_or(sort));
    if !matches!(known, None | Some("jwt" | "at+jwt")) || head.contains_key("cty") {
        return Err(Invalid::Sort);
    }
    let kid = match head.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
        Some(_) => return Err(Invalid::NoToken),
    };
    Ok((algorithm, kid))
}

/// The algorithms that are taken: signatures by a private key, and no others (RFC 8725, section 3.1).
pub(crate) fn algorithm_of(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}
