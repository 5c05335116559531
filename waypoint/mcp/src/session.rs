//! Session tokens: what a caller holds in place of the server's own session id.
//!
//! A token is sealed and says everything that is needed to serve it, so any replica with the key can, and none needs
//! another's memory. It is good for one caller, one target and one route; presented by or for another it does not
//! exist.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mesh::{names::WorkloadUid, resource::BackendTarget};
use serde::{Deserialize, Serialize};

/// How long a server's own session id may be, in bytes.
pub const UPSTREAM_MAX: usize = 1024;
/// How many former keys still open tokens.
pub const FORMER_MAX: usize = 3;

/// The form of tokens, so that a later one can be told apart.
const FORM: u8 = 1;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Whose it is.
    #[serde(rename = "p")]
    pub principal: String,
    /// Which backend it was opened at, of those that the route leads to.
    #[serde(rename = "t")]
    pub target: BackendTarget,
    /// The route that led there.
    #[serde(rename = "r")]
    pub route: Option<String>,
    /// Where it lives.
    #[serde(rename = "e")]
    pub endpoint: WorkloadUid,
    /// What the server calls it.
    #[serde(rename = "u")]
    pub upstream: String,
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

/// Seals and opens tokens.
pub struct Sealer {
    current: LessSafeKey,
    former: Vec<LessSafeKey>,
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
        Ok(Self { current: key(current)?, former })
    }

    /// A token. `nonce` must be of chance, and is used once.
    pub fn seal(&self, session: &Session, nonce: [u8; NONCE_LEN]) -> Option<String> {
        let mut sealed = serde_json::to_vec(session).ok()?;
        let aad = Aad::from([FORM]);
        self.current.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        let mut token = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        token.push(FORM);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&sealed);
        Some(URL_SAFE_NO_PAD.encode(token))
    }

    /// What a token says, if it is ours and whole.
    pub fn open(&self, token: &str) -> Option<Session> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (form, rest) = token.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *form != FORM {
            return None;
        }
        std::iter::once(&self.current).chain(&self.former).find_map(|key| {
            let mut plain = sealed.to_vec();
            let aad = Aad::from([FORM]);
            let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut plain).ok()?;
            serde_json::from_slice(plain).ok()
        })
    }
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
    use mesh::names::ServiceKey;

    use super::*;

    fn session() -> Session {
        Session {
            principal: "spiffe://east/ns/agents/sa/planner".into(),
            target: BackendTarget::Service {
                service: ServiceKey {
                    namespace: "shop".into(),
                    hostname: "tools.shop.svc.cluster.local".into(),
                },
                port: 80,
            },
            route: Some("HTTPRoute/shop/tools".into()),
            endpoint: "west/strait.dev/MeshWorkload/shop/tools-1".into(),
            upstream: "0123456789abcdef".into(),
        }
    }

    fn sealer(key: u8, former: &[u8]) -> Sealer {
        let former: Vec<Vec<u8>> = former.iter().map(|key| vec![*key; 32]).collect();
        Sealer::new(&[key; 32], &former).unwrap()
    }

    #[test]
    fn a_token_opens_to_what_was_sealed_at_every_replica() {
        let token = sealer(1, &[]).seal(&session(), [7; NONCE_LEN]).unwrap();
        assert_eq!(sealer(1, &[]).open(&token), Some(session()));
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!token.contains("0123456789"));
    }

    #[test]
    fn former_keys_open_and_do_not_seal() {
        let token = sealer(1, &[]).seal(&session(), [7; NONCE_LEN]).unwrap();
        assert_eq!(sealer(2, &[1]).open(&token), Some(session()));
        let token = sealer(2, &[1]).seal(&session(), [8; NONCE_LEN]).unwrap();
        assert_eq!(sealer(1, &[]).open(&token), None);
    }

    #[test]
    fn what_was_changed_or_is_not_ours_does_not_open() {
        let sealer = sealer(1, &[]);
        let token = sealer.seal(&session(), [7; NONCE_LEN]).unwrap();
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            // Bits of the last character that say nothing may differ in no other way than by being refused.
            assert_eq!(sealer.open(&other), None, "{at}");
        }
        for other in ["", "AQ", "0123456789abcdef", &token[..token.len() - 1], &format!("{token}A")] {
            assert_eq!(sealer.open(other), None, "{other}");
        }
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
