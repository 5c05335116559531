//! An issuer for tests, with keys of its own, and a place from which they are fetched.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "tests, each of which uses a part")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeySize, PublicKeyComponents},
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use exchange::{Body, BoxFuture, Call, CallError, Errands, Reply, Response, Upstreams};
use http::StatusCode;
use mesh::resource::*;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// The time of the tests.
pub const NOW: u64 = 1_790_000_000;

pub fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The keys of the issuer.
pub struct Signer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Signer {
    pub fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// Modulus and exponent of the RSA key.
    pub fn rsa_parts(&self) -> (Vec<u8>, Vec<u8>) {
        let parts: PublicKeyComponents<Vec<u8>> = self.rsa.public_key().into();
        (parts.n, parts.e)
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let point = |key: &EcdsaKeyPair, length: usize| {
            let bytes = key.public_key().as_ref();
            (b64(&bytes[1..=length]), b64(&bytes[1 + length..]))
        };
        match kid {
            "rsa" => {
                let (n, e) = self.rsa_parts();
                json!({"kty": "RSA", "kid": kid, "n": b64(n), "e": b64(e)})
            }
            "p256" => {
                let (x, y) = point(&self.p256, 32);
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y, "use": "sig"})
            }
            "p384" => {
                let (x, y) = point(&self.p384, 48);
                json!({"kty": "EC", "crv": "P-384", "kid": kid, "x": x, "y": y})
            }
            _ => json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA",
                "x": b64(self.ed.public_key().as_ref())}),
        }
    }

    pub fn set(&self) -> Value {
        let keys = ["rsa", "p256", "p384", "ed"].map(|kid| self.jwk(kid));
        json!({ "keys": keys })
    }

    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding: &'static dyn signature::RsaEncoding| {
            let mut out = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, message, &mut out).unwrap();
            out
        };
        match algorithm {
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512),
            "ES256" => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            "ES384" => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(message).as_ref().to_vec(),
            _ => Vec::new(),
        }
    }

    /// A token with this head and these claims, signed as `algorithm` says, whatever the head says.
    pub fn token_signed(&self, algorithm: &str, head: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(head), b64(claims));
        format!("{message}.{}", b64(self.sign(algorithm, message.as_bytes())))
    }

    pub fn token(&self, head: &Value, claims: &Value) -> String {
        let algorithm = head["alg"].as_str().unwrap_or("RS256").to_owned();
        self.token_signed(&algorithm, &head.to_string(), &claims.to_string())
    }
}

/// Claims that are good.
pub fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": "planner", "sub": "ada", "exp": NOW + 600, "scope": "read write"})
}

/// The claims with one of them exchanged; null takes it away.
pub fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let object = claims.as_object_mut().unwrap();
    if value.is_null() {
        object.remove(name)
    } else {
        object.insert(name.to_owned(), value)
    };
    claims
}

pub fn issuer(keys: JwtKeys) -> Arc<Issuer> {
    Arc::new(Issuer {
        name: "strait-system/people".parse().unwrap(),
        broken: None,
        kind: IssuerKind::Jwt {
            issuer: "https://id.example".into(),
            audiences: vec!["planner".into(), "tools".into()],
            keys,
            authorization_server: None,
        },
    })
}

pub fn key_issuer(header: &str, keys: &[(&str, &str)]) -> Arc<Issuer> {
    let digest = |key: &str| -> Arc<str> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    };
    let keys = keys
        .iter()
        .map(|(key, subject)| (digest(key), ApiKey { subject: (*subject).into(), claims: BTreeMap::new() }));
    Arc::new(Issuer {
        name: "strait-system/keys".parse().unwrap(),
        broken: None,
        kind: IssuerKind::ApiKeys { header: header.into(), keys: keys.collect() },
    })
}

pub fn demand(required: bool, issuers: &[&str]) -> Authentication {
    Authentication { required, issuers: issuers.iter().map(|it| (*it).into()).collect(), resource: None }
}

/// What the place of the keys does.
#[derive(Clone)]
pub enum Serves {
    Answer(u16, Vec<u8>),
    Hangs,
    Gone,
}

/// The place of the keys. It counts how often it is asked.
pub struct Place {
    pub serves: Mutex<Serves>,
    pub asked: AtomicUsize,
}

impl Place {
    pub fn new(serves: Serves) -> Arc<Self> {
        Arc::new(Self { serves: Mutex::new(serves), asked: AtomicUsize::new(0) })
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub fn errands(self: &Arc<Self>) -> Errands {
        let own = "spiffe://west/ns/shop/sa/gateway".parse().unwrap();
        Errands::new(own, Arc::clone(self) as Arc<dyn Upstreams>)
    }
}

impl Upstreams for Place {
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(!call.request.headers().contains_key("authorization"));
        let serves = self.serves.lock().clone();
        Box::pin(async move {
            match serves {
                Serves::Answer(status, bytes) => {
                    let mut response = Response::new(Body::held_bytes(bytes));
                    *response.status_mut() = StatusCode::from_u16(status).unwrap();
                    Ok(Reply { response, endpoint: "w".into() })
                }
                Serves::Hangs => std::future::pending().await,
                Serves::Gone => Err(CallError::Unresolved("it is gone".into())),
            }
        })
    }
}

pub fn fetched() -> JwtKeys {
    let target =
        BackendTarget::Service { service: "lab/id.lab.svc.cluster.local".parse().unwrap(), port: 80 };
    JwtKeys::Fetched { target, path: "/jwks".into() }
}
