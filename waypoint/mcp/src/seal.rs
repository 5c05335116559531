//! Seals what callers hold for us, so that it comes back unchanged and unread: any replica with the key can open it.
//!
//! Each seal has a form (what it is for) and is bound to whose it is: opened as something else, or for somebody else,
//! it does not open.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// How many former keys still open seals.
pub const FORMER_MAX: usize = 3;
/// How long a seal may be that is opened, in bytes.
pub const SEAL_MAX: usize = 1 << 20;

/// What a seal is for. Its first byte, so that a later form can be told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// A session with one server.
    Session = 1,
    /// A session with several servers.
    Sessions = 2,
    /// The id or progress token of a server's request.
    Id = 3,
    /// Where a list goes on.
    Cursor = 4,
    /// Where streams are to be resumed.
    Events = 5,
    /// Where messages of the transport of 2024-11-05 are posted.
    Post = 6,
}

/// A key that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key has 32 bytes.
    #[error("a session key has 32 bytes, this one has {0}")]
    Length(usize),
    /// More former keys than [`FORMER_MAX`].
    #[error("at most {FORMER_MAX} former session keys")]
    TooMany,
}

/// Seals and opens.
pub struct Sealer {
    current: LessSafeKey,
    former: Vec<LessSafeKey>,
    nonces: hmac::Key,
}

impl Sealer {
    /// Seals by the current key, and opens by it and by those it replaced. Replicas that share sessions share keys.
    ///
    /// # Errors
    /// When a key has not 32 bytes, or there are too many.
    pub fn new(current: &[u8], former: &[Vec<u8>]) -> Result<Self, KeyError> {
        if former.len() > FORMER_MAX {
            return Err(KeyError::TooMany);
        }
        let former = former.iter().map(|bytes| key(bytes)).collect::<Result<_, _>>()?;
        let of_nonces = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, current), b"strait mcp nonces");
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, of_nonces.as_ref());
        Ok(Self { current: key(current)?, former, nonces })
    }

    /// A seal with a nonce of chance, which is used once: two seals of one thing differ.
    pub(crate) fn seal(
        &self,
        form: Form,
        bound: &str,
        plain: Vec<u8>,
        nonce: [u8; NONCE_LEN],
    ) -> Option<String> {
        let mut sealed = plain;
        let aad = Aad::from(associated(form, bound));
        self.current.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let mut token = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        token.push(form as u8);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// A seal that is the same each time for the same thing, so that callers can compare: its nonce is made of what is
    /// sealed, under a key of its own.
    pub(crate) fn seal_alike(&self, form: Form, bound: &str, plain: Vec<u8>) -> Option<String> {
        let mut signing = hmac::Context::with_key(&self.nonces);
        let bound_length = u64::try_from(bound.len()).ok()?;
        signing.update(&[form as u8]);
        signing.update(&bound_length.to_be_bytes());
        signing.update(bound.as_bytes());
        signing.update(&plain);
        let nonce = *signing.sign().as_ref().first_chunk::<NONCE_LEN>()?;
        self.seal(form, bound, plain, nonce)
    }

    /// What was sealed, if it is ours, whole, of this form and bound to this.
    pub(crate) fn open(&self, form: Form, bound: &str, token: &str) -> Option<Vec<u8>> {
        if token.len() > SEAL_MAX {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, rest) = token.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *said != form as u8 {
            return None;
        }
        std::iter::once(&self.current).chain(&self.former).find_map(|key| {
            let mut plain = sealed.to_vec();
            let aad = Aad::from(associated(form, bound));
            let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain).ok()?;
            Some(plain.to_vec())
        })
    }
}

fn associated(form: Form, bound: &str) -> Vec<u8> {
    let mut associated = vec![form as u8];
    associated.extend_from_slice(bound.as_bytes());
    associated
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Sealer({} former keys)", self.former.len())
    }
}

fn key(bytes: &[u8]) -> Result<LessSafeKey, KeyError> {
    let length = bytes.len();
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| KeyError::Length(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(key: u8, former: &[u8]) -> Sealer {
        let former: Vec<Vec<u8>> = former.iter().map(|key| vec![*key; 32]).collect();
        Sealer::new(&[key; 32], &former).unwrap()
    }

    #[test]
    fn a_seal_opens_as_what_it_is_and_for_whom_it_is_only() {
        let token = sealer(1, &[]).seal_alike(Form::Id, "planner", b"docs 1".to_vec()).unwrap();
        let opened = |key, former: &[u8], form, bound| sealer(key, former).open(form, bound, &token);
        assert_eq!(opened(1, &[], Form::Id, "planner").as_deref(), Some(&b"docs 1"[..]));
        assert_eq!(opened(2, &[1], Form::Id, "planner").as_deref(), Some(&b"docs 1"[..]));
        assert_eq!(opened(1, &[], Form::Cursor, "planner"), None);
        assert_eq!(opened(1, &[], Form::Id, "intern"), None);
        assert_eq!(opened(2, &[], Form::Id, "planner"), None);
    }

    #[test]
    fn alike_is_alike_and_different_is_different() {
        let sealer = sealer(1, &[]);
        let seal = |bound, plain: &str| sealer.seal_alike(Form::Id, bound, plain.into()).unwrap();
        assert_eq!(seal("a", "1"), seal("a", "1"));
        assert_ne!(seal("a", "1"), seal("a", "2"));
        assert_ne!(seal("a", "1"), seal("b", "1"));
    }

    #[test]
    fn keys_have_32_bytes_and_are_few() {
        assert_eq!(Sealer::new(&[0; 31], &[]).unwrap_err(), KeyError::Length(31));
        assert_eq!(Sealer::new(&[0; 33], &[]).unwrap_err(), KeyError::Length(33));
        let keys = |count| vec![vec![0; 32]; count];
        assert!(Sealer::new(&[0; 32], &keys(FORMER_MAX)).is_ok());
        assert_eq!(Sealer::new(&[0; 32], &keys(FORMER_MAX + 1)).unwrap_err(), KeyError::TooMany);
    }
}
