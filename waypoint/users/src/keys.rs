//! One key of an issuer: what it is for, and whether a signature is its own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Map, Value};

use crate::token::{Token, algorithm_of};

/// Shortest modulus of an RSA key, in bytes (RFC 7518, section 3.3).
const MODULUS_MIN: usize = 256;
/// Longest, so that a signature cannot be made costly to verify.
const MODULUS_MAX: usize = 1024;
/// Longest exponent, for the same reason.
const EXPONENT_MAX: usize = 4;

/// The sorts of keys. A symmetric key is none: whoever can verify with it can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// One public key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    sort: Sort,
    // The one algorithm that it is for, if it says so.
    only: Option<Algorithm>,
    key: DecodingKey,
}

impl Key {
    /// Reads one JWK (RFC 7517). `None`: it is of a sort that we do not take, or not for signatures.
    pub(crate) fn read(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("use").is_some_and(|purpose| purpose.as_str() != Some("sig")) {
            return None;
        }
        if let Some(purposes) = jwk.get("key_ops") {
            purposes.as_array()?.iter().find(|purpose| purpose.as_str() == Some("verify"))?;
        }
        let only = match jwk.get("alg") {
            None => None,
            Some(name) => Some(algorithm_of(name.as_str()?)?),
        };
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        let (sort, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Sort::Rsa, rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (Sort::P256, point(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (Sort::P384, point(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => {
                let x = URL_SAFE_NO_PAD.decode(text("x")?).ok().filter(|x| x.len() == 32)?;
                (Sort::Ed25519, DecodingKey::from_ed_der(&x))
            }
            _ => return None,
        };
        let key = Self { kid, sort, only, key };
        (only.is_none_or(|only| key.sort_fits(only))).then_some(key)
    }

    /// True if a token that is signed so can be signed by it.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        self.sort_fits(algorithm) && self.only.is_none_or(|only| only == algorithm)
    }

    fn sort_fits(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => self.sort == Sort::Rsa,
            Algorithm::ES256 => self.sort == Sort::P256,
            Algorithm::ES384 => self.sort == Sort::P384,
            Algorithm::EdDSA => self.sort == Sort::Ed25519,
            _ => false,
        }
    }

    /// True if it signed the token.
    pub(crate) fn signed(&self, token: &Token<'_>) -> bool {
        self.fits(token.algorithm)
            && crypto::verify(token.signature, token.message.as_bytes(), &self.key, token.algorithm)
                .unwrap_or(false)
    }
}

fn rsa(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let modulus = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(exponent).ok()?;
    let sound = (MODULUS_MIN..=MODULUS_MAX).contains(&modulus.len())
        && (1..=EXPONENT_MAX).contains(&exponent.len())
        && exponent.last().is_some_and(|last| last % 2 == 1)
        && exponent != [1];
    sound.then(|| DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

/// An uncompressed point (SEC 1, section 2.3.3). That it lies on the curve is checked when it is used.
fn point(x: &str, y: &str, length: usize) -> Option<DecodingKey> {
    let mut bytes = vec![4];
    for coordinate in [x, y] {
        bytes.extend(URL_SAFE_NO_PAD.decode(coordinate).ok().filter(|bytes| bytes.len() == length)?);
    }
    Some(DecodingKey::from_ec_der(&bytes))
}
