//! The keys of an issuer, read from a JWK set.

use serde_json::Value;

use crate::{keys::Key, strict, token::Token};

/// Most keys of one issuer.
pub const KEYS_MAX: usize = 64;
/// Keys that are tried for a token that names none.
const TRIED_MAX: usize = 4;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Key>,
}

/// Why something is no set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// No JSON object with a list of keys.
    #[error("it is no JWK set")]
    NoSet,
    /// Too many.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    /// None that can verify a token.
    #[error("it has no key that can verify a token")]
    NoKey,
}

impl Keys {
    /// Reads a JWK set (RFC 7517, section 5). Keys of sorts that we do not take are left out.
    ///
    /// # Errors
    /// When there is no key in it that can be used.
    pub fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let set = strict::object(bytes).ok_or(KeysError::NoSet)?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(KeysError::NoSet)?;
        if list.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let keys: Vec<Key> = list.iter().filter_map(|key| Key::read(key.as_object()?)).collect();
        if keys.is_empty() { Err(KeysError::NoKey) } else { Ok(Self { keys }) }
    }

    /// True if there is a key that could have signed this token.
    pub fn has(&self, token: &Token<'_>) -> bool {
        self.candidates(token).next().is_some()
    }

    /// True if one of the keys signed this token.
    pub fn signed(&self, token: &Token<'_>) -> bool {
        self.candidates(token).any(|key| key.signed(token))
    }

    fn candidates<'a>(&'a self, token: &'a Token<'_>) -> impl Iterator<Item = &'a Key> {
        let named = |key: &&Key| token.kid.is_none() || key.kid == token.kid;
        self.keys.iter().filter(|key| key.fits(token.algorithm)).filter(named).take(TRIED_MAX)
    }
}
