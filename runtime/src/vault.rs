//! Seals texts so that whoever holds them can neither read nor change them, until they come back to a program with the
//! key (AES-256-GCM).
//!
//! Each seal has a form (what it is for) and is bound to something (whose it is): opened as something else, or for
//! somebody else, it does not open. Each use of one key has a label, from which keys of its own are derived.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = NONCE_LEN;
/// How many former keys still open seals.
pub const FORMER_MAX: usize = 3;

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key has [`KEY_BYTES`].
    #[error("a sealing key has {KEY_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// More former keys than [`FORMER_MAX`].
    #[error("at most {FORMER_MAX} former sealing keys")]
    TooMany,
}

/// Seals and opens.
pub struct Vault {
    current: Keys,
    former: Vec<Keys>,
}

struct Keys {
    seal: LessSafeKey,
    nonce: hmac::Key,
}

/// A key that only this use of `key` has.
///
/// # Errors
/// When the key has not [`KEY_BYTES`].
pub fn derived(key: &[u8], label: &str) -> Result<hmac::Key, KeyError> {
    if key.len() != KEY_BYTES {
        return Err(KeyError::Length(key.len()));
    }
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("strait {label}").as_bytes());
    Ok(hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref()))
}

impl Keys {
    fn of(label: &str, key: &[u8]) -> Result<Self, KeyError> {
        let length = key.len();
        let seal = hmac::sign(&derived(key, &format!("{label} seal"))?, b"");
        let seal = UnboundKey::new(&AES_256_GCM, seal.as_ref()).map(LessSafeKey::new);
        let nonce = derived(key, &format!("{label} nonce"))?;
        Ok(Self { seal: seal.map_err(|_| KeyError::Length(length))?, nonce })
    }
}

impl Vault {
    /// Seals by the current key, and opens by it and by those it replaced. Replicas that share seals share keys.
    ///
    /// # Errors
    /// When a key has not [`KEY_BYTES`], or there are too many.
    pub fn new(label: &str, current: &[u8], former: &[Vec<u8>]) -> Result<Self, KeyError> {
        if former.len() > FORMER_MAX {
            return Err(KeyError::TooMany);
        }
        let former = former.iter().map(|bytes| Keys::of(label, bytes)).collect::<Result<_, _>>()?;
        Ok(Self { current: Keys::of(label, current)?, former })
    }

    /// A seal with a nonce of chance, which is used once: two seals of one thing differ.
    pub fn seal(&self, form: u8, bound: &str, plain: Vec<u8>, nonce: [u8; NONCE_BYTES]) -> Option<String> {
        let mut sealed = plain;
        let aad = Aad::from(associated(form, bound));
        let key = &self.current.seal;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let mut token = Vec::with_capacity(1 + NONCE_BYTES + sealed.len());
        token.push(form);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// A seal that is the same each time for the same thing, so that whoever holds it can compare: its nonce is made of
    /// what is sealed, under a key of its own.
    pub fn seal_alike(&self, form: u8, bound: &str, plain: Vec<u8>) -> Option<String> {
        let mut signing = hmac::Context::with_key(&self.current.nonce);
        signing.update(&[form]);
        signing.update(&u64::try_from(bound.len()).ok()?.to_be_bytes());
        signing.update(bound.as_bytes());
        signing.update(&plain);
        let nonce = *signing.sign().as_ref().first_chunk::<NONCE_BYTES>()?;
        self.seal(form, bound, plain, nonce)
    }

    /// What was sealed, if it is ours, whole, of this form and bound to this.
    pub fn open(&self, form: u8, bound: &str, token: &str) -> Option<Vec<u8>> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, rest) = token.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *said != form {
            return None;
        }
        std::iter::once(&self.current).chain(&self.former).find_map(|keys| {
            let mut plain = sealed.to_vec();
            let aad = Aad::from(associated(form, bound));
            let plain =
                keys.seal.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain).ok()?;
            Some(plain.to_vec())
        })
    }
}

fn associated(form: u8, bound: &str) -> Vec<u8> {
    let mut associated = vec![form];
    associated.extend_from_slice(bound.as_bytes());
    associated
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Vault({} former keys)", self.former.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(key: u8, former: &[u8]) -> Vault {
        let former: Vec<Vec<u8>> = former.iter().map(|key| vec![*key; KEY_BYTES]).collect();
        Vault::new("test", &[key; KEY_BYTES], &former).unwrap()
    }

    #[test]
    fn a_seal_opens_as_what_it_is_and_for_whom_it_is_only() {
        let token = vault(1, &[]).seal_alike(3, "planner", b"docs 1".to_vec()).unwrap();
        let opened = |key, former: &[u8], form, bound| vault(key, former).open(form, bound, &token);
        assert_eq!(opened(1, &[], 3, "planner").as_deref(), Some(&b"docs 1"[..]));
        assert_eq!(opened(2, &[1], 3, "planner").as_deref(), Some(&b"docs 1"[..]));
        assert_eq!(opened(1, &[], 4, "planner"), None);
        assert_eq!(opened(1, &[], 3, "intern"), None);
        assert_eq!(opened(2, &[], 3, "planner"), None);
        let other = Vault::new("other", &[1; KEY_BYTES], &[]).unwrap();
        assert_eq!(other.open(3, "planner", &token), None, "another use of the key");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let vault = vault(1, &[]);
        let token = vault.seal(3, "planner", b"docs 1".to_vec(), [7; NONCE_BYTES]).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(vault.open(3, "planner", &String::from_utf8(other).unwrap()), None, "{at}");
        }
        for other in ["", "Aw", "docs 1", &token[..token.len() - 1], &format!("{token}A")] {
            assert_eq!(vault.open(3, "planner", other), None, "{other}");
        }
    }

    #[test]
    fn alike_is_alike_and_different_is_different() {
        let vault = vault(1, &[]);
        let seal = |bound, plain: &str| vault.seal_alike(3, bound, plain.into()).unwrap();
        assert_eq!(seal("a", "1"), seal("a", "1"));
        assert_ne!(seal("a", "1"), seal("a", "2"));
        assert_ne!(seal("a", "1"), seal("b", "1"));
    }

    #[test]
    fn keys_have_32_bytes_and_are_few() {
        let new = |key: &[u8], former: &[Vec<u8>]| Vault::new("test", key, former).map(|_| ());
        assert_eq!(new(&[0; 31], &[]), Err(KeyError::Length(31)));
        assert_eq!(new(&[0; 33], &[]), Err(KeyError::Length(33)));
        let keys = |count| vec![vec![0; KEY_BYTES]; count];
        assert_eq!(new(&[0; 32], &keys(FORMER_MAX)), Ok(()));
        assert_eq!(new(&[0; 32], &keys(FORMER_MAX + 1)), Err(KeyError::TooMany));
    }
}
