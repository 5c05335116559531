//! The SPIFFE bundle of a trust domain: whom to believe, as a JWK set (RFC 7517, SPIFFE Trust Domain and Bundle).
//!
//! Parsing is strict where trust depends on it: one certificate for each key, an authority, of this trust domain,
//! and the key that the entry says it is. Entries for other uses than X.509 are left out, as the standard asks.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use mesh::TrustDomain;
use serde::{Deserialize, Serialize};
use x509_parser::public_key::PublicKey;

use crate::certificate::{self, RootFault, check_root};

/// Largest bundle that is read, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 256 * 1024;
/// Most roots of one trust domain.
pub const ROOTS_MAX: usize = 16;
/// Most entries of any use.
const KEYS_MAX: usize = 64;
/// How often to ask again where a bundle does not say.
pub const REFRESH_HINT_DEFAULT: Duration = Duration::from_secs(300);

const USE_X509: &str = "x509-svid";

/// The roots of one trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The certificates, DER.
    pub roots: Vec<Vec<u8>>,
    /// Grows with each change.
    pub sequence: u64,
    /// How often to ask again.
    pub refresh_hint: Duration,
}

/// Why a bundle was refused or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Larger than any honest one.
    #[error("a bundle has at most {BUNDLE_BYTES_MAX} bytes, this one has {0}")]
    TooLarge(usize),
    /// Not a JWK set.
    #[error("it is not a JWK set")]
    Json(#[source] serde_json::Error),
    /// More entries than anyone needs.
    #[error("it has {0} keys, at most {KEYS_MAX} and {ROOTS_MAX} of them roots are read")]
    TooMany(usize),
    /// It would make nobody believed.
    #[error("it has no root for X.509 identities")]
    Empty,
    /// An entry has no certificate, or several.
    #[error("root {at} has {found} certificates, not exactly one")]
    Certificates {
        /// Which root, from 0.
        at: usize,
        /// How many.
        found: usize,
    },
    /// An entry's certificate is no root of this trust domain.
    #[error("root {at} cannot be believed")]
    Root {
        /// Which root, from 0.
        at: usize,
        /// Why.
        #[source]
        cause: RootFault,
    },
    /// An entry's key is of a kind that is not known, or not the one of its certificate.
    #[error("root {at}: its key is not the one of its certificate, or neither EC nor RSA")]
    Key {
        /// Which root, from 0.
        at: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spiffe_refresh_hint: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    usage: Option<String>,
    #[serde(flatten)]
    key: KeyFields,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    x5c: Vec<String>,
}

/// The public key itself: `crv`, `x` and `y` of an EC key, `n` and `e` of an RSA key.
#[derive(Serialize, Deserialize, PartialEq, Eq, Default)]
struct KeyFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
}

impl Bundle {
    /// Writes it.
    ///
    /// # Errors
    /// When a root is no certificate with an EC or RSA key.
    pub fn encode(&self) -> Result<Vec<u8>, BundleError> {
        let mut keys = Vec::new();
        for (at, root) in self.roots.iter().enumerate() {
            let (kty, key) = key_fields(root)
                .map_err(|cause| BundleError::Root { at, cause })?
                .ok_or(BundleError::Key { at })?;
            let usage = Some(USE_X509.to_owned());
            keys.push(Jwk { kty: kty.to_owned(), usage, key, x5c: vec![STANDARD.encode(root)] });
        }
        let (sequence, hint) = (Some(self.sequence), Some(self.refresh_hint.as_secs()));
        let set = JwkSet { keys, spiffe_sequence: sequence, spiffe_refresh_hint: hint };
        serde_json::to_vec_pretty(&set).map_err(BundleError::Json)
    }

    /// Reads the bundle of `trust_domain`.
    ///
    /// # Errors
    /// When any root in it cannot be believed; there is no half of a bundle.
    pub fn parse(bytes: &[u8], trust_domain: &TrustDomain) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(BundleError::TooLarge(bytes.len()));
        }
        let set: JwkSet = serde_json::from_slice(bytes).map_err(BundleError::Json)?;
        if set.keys.len() > KEYS_MAX {
            return Err(BundleError::TooMany(set.keys.len()));
        }
        let mut roots = Vec::new();
        for (at, jwk) in set.keys.iter().filter(|jwk| jwk.usage.as_deref() == Some(USE_X509)).enumerate() {
            let root = read_root(at, jwk, trust_domain)?;
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        if roots.is_empty() {
            return Err(BundleError::Empty);
        }
        if roots.len() > ROOTS_MAX {
            return Err(BundleError::TooMany(roots.len()));
        }
        Ok(Self {
            roots,
            sequence: set.spiffe_sequence.unwrap_or(0),
            refresh_hint: set.spiffe_refresh_hint.map_or(REFRESH_HINT_DEFAULT, Duration::from_secs),
        })
    }
}

fn read_root(at: usize, jwk: &Jwk, trust_domain: &TrustDomain) -> Result<Vec<u8>, BundleError> {
    let [text] = jwk.x5c.as_slice() else {
        return Err(BundleError::Certificates { at, found: jwk.x5c.len() });
    };
    let root = STANDARD.decode(text).map_err(|_| BundleError::Root { at, cause: RootFault::Malformed })?;
    check_root(&root, trust_domain).map_err(|cause| BundleError::Root { at, cause })?;
    let found = key_fields(&root).map_err(|cause| BundleError::Root { at, cause })?;
    match found {
        Some((kty, key)) if kty == jwk.kty && key == jwk.key => Ok(root),
        _ => Err(BundleError::Key { at }),
    }
}

fn key_fields(certificate_der: &[u8]) -> Result<Option<(&'static str, KeyFields)>, RootFault> {
    let certificate = certificate::parse(certificate_der)?;
    let text = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
    Ok(match certificate.public_key().parsed().map_err(|_| RootFault::Malformed)? {
        PublicKey::EC(point) => {
            let curve = match point.key_size() {
                256 => "P-256",
                384 => "P-384",
                521 | 528 => "P-521",
                _ => return Ok(None),
            };
            // An uncompressed point: 4, then x and y of equal length.
            match point.data() {
                [4, coordinates @ ..] if coordinates.len() % 2 == 0 => {
                    let (x, y) = coordinates.split_at(coordinates.len() / 2);
                    Some((
                        "EC",
                        KeyFields {
                            crv: Some(curve.to_owned()),
                            x: text(x),
                            y: text(y),
                            ..KeyFields::default()
                        },
                    ))
                }
                _ => None,
            }
        }
        PublicKey::RSA(key) => {
            let unsigned =
                |number: &[u8]| text(&number[number.iter().take_while(|byte| **byte == 0).count()..]);
            Some((
                "RSA",
                KeyFields { n: unsigned(key.modulus), e: unsigned(key.exponent), ..KeyFields::default() },
            ))
        }
        _ => None,
    })
}

/// The pin of a certificate's public key (SubjectPublicKeyInfo), `sha256:` and 64 hexadecimal digits.
///
/// # Errors
/// When it is no certificate.
pub fn spki_pin(certificate_der: &[u8]) -> Result<String, RootFault> {
    let certificate = certificate::parse(certificate_der)?;
    let hash = digest(&SHA256, certificate.public_key().raw);
    Ok(hash.as_ref().iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::{Value, json};

    use super::*;
    use crate::{root::Root, sign::Serial};

    fn root(trust_domain: &str) -> Vec<u8> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let serial = Serial::from_random([7; 16]);
        Root::generate(&trust_domain.parse().unwrap(), Duration::from_secs(3600), now, serial)
            .unwrap()
            .certificate_der()
            .to_vec()
    }

    fn east() -> TrustDomain {
        "east".parse().unwrap()
    }

    fn bundle(roots: Vec<Vec<u8>>) -> Bundle {
        Bundle { roots, sequence: 12, refresh_hint: Duration::from_secs(60) }
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Result<Bundle, BundleError> {
        let mut value: Value = serde_json::from_slice(&bundle(vec![root("east")]).encode().unwrap()).unwrap();
        change(&mut value);
        Bundle::parse(value.to_string().as_bytes(), &east())
    }

    #[test]
    fn what_is_written_is_read() {
        for roots in [vec![root("east")], vec![root("east"), root("east")]] {
            let bundle = bundle(roots);
            assert_eq!(Bundle::parse(&bundle.encode().unwrap(), &east()).unwrap(), bundle);
        }
    }

    #[test]
    fn it_is_a_spiffe_bundle() {
        let root = root("east");
        let value: Value = serde_json::from_slice(&bundle(vec![root.clone()]).encode().unwrap()).unwrap();
        assert_eq!(value["spiffe_sequence"], 12);
        assert_eq!(value["spiffe_refresh_hint"], 60);
        let key = &value["keys"][0];
        assert_eq!(
            (&key["kty"], &key["use"], &key["crv"]),
            (&json!("EC"), &json!("x509-svid"), &json!("P-256"))
        );
        assert_eq!(key["x5c"], json!([STANDARD.encode(root)]));
        assert_eq!(key["x"].as_str().map(str::len), Some(43));
    }

    #[test]
    fn another_trust_domains_root_is_refused() {
        let of_west = bundle(vec![root("east"), root("west")]).encode().unwrap();
        let parsed = Bundle::parse(&of_west, &east());
        assert!(matches!(
            parsed,
            Err(BundleError::Root { at: 1, cause: RootFault::OtherTrustDomain { .. } })
        ));
    }

    #[test]
    fn other_uses_are_left_out_and_unknown_fields_too() {
        let parsed = changed(|value| {
            value["extra"] = json!({"a": 1});
            value["keys"][0]["kid"] = json!("k");
            let keys = value["keys"].as_array_mut().unwrap();
            keys.push(
                json!({"kty": "EC", "use": "jwt-svid", "kid": "a", "crv": "P-256", "x": "a", "y": "b"}),
            );
            keys.push(json!({"kty": "EC"}));
        });
        assert_eq!(parsed.unwrap().roots.len(), 1);
        let none = changed(|value| value["keys"][0]["use"] = json!("jwt-svid"));
        assert!(matches!(none, Err(BundleError::Empty)));
        assert!(matches!(changed(|value| value["keys"] = json!([])), Err(BundleError::Empty)));
    }

    #[test]
    fn an_entry_that_is_not_what_it_says_is_refused() {
        let other: Value = serde_json::from_slice(&bundle(vec![root("east")]).encode().unwrap()).unwrap();
        let cases: [(&str, Value); 7] = [
            ("x", other["keys"][0]["x"].clone()),
            ("crv", json!("P-384")),
            ("kty", json!("RSA")),
            ("kty", json!("OKP")),
            ("x5c", json!([])),
            ("x5c", json!(["AAAA"])),
            ("x5c", json!(["not base64!"])),
        ];
        for (field, value) in cases {
            let parsed = changed(|bundle| bundle["keys"][0][field] = value.clone());
            assert!(parsed.is_err(), "{field} {value}");
        }
        let twice = changed(|bundle| {
            let one = bundle["keys"][0]["x5c"][0].clone();
            bundle["keys"][0]["x5c"] = json!([one, one]);
        });
        assert!(matches!(twice, Err(BundleError::Certificates { at: 0, found: 2 })));
    }

    #[test]
    fn bounds_hold_on_both_sides() {
        let many = |count: usize| {
            changed(|value| {
                let one = json!({"kty": "EC", "use": "other"});
                value["keys"].as_array_mut().unwrap().extend(vec![one; count]);
            })
        };
        assert!(many(KEYS_MAX - 1).is_ok());
        assert!(matches!(many(KEYS_MAX), Err(BundleError::TooMany(_))));
        let mut longest = bundle(vec![root("east")]).encode().unwrap();
        longest.resize(BUNDLE_BYTES_MAX, b' ');
        assert!(Bundle::parse(&longest, &east()).is_ok());
        longest.push(b' ');
        assert!(matches!(Bundle::parse(&longest, &east()), Err(BundleError::TooLarge(_))));
    }

    #[test]
    fn what_is_no_jwk_set_is_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for bad in ["", "null", "[]", "{}", r#"{"keys": 1}"#, r#"{"keys": [], "keys": []}"#, &deep] {
            assert!(matches!(Bundle::parse(bad.as_bytes(), &east()), Err(BundleError::Json(_))), "{bad:.40}");
        }
    }

    #[test]
    fn a_pin_is_the_hash_of_the_public_key() {
        let root = root("east");
        let pin = spki_pin(&root).unwrap();
        assert_eq!(pin.len(), "sha256:".len() + 64);
        assert_eq!(pin, spki_pin(&root).unwrap());
        assert_ne!(pin, spki_pin(&self::root("east")).unwrap());
        assert!(spki_pin(b"nothing").is_err());
    }
}
