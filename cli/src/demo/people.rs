//! Who comes in from outside: the certificate that the way in shows, an issuer of tokens, and people with tokens.
//!
//! All of it is made anew at each start. Who would run this for real has a certificate of a public authority and an
//! issuer that serves its keys by a URL.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

/// The name on the certificate of the way in.
pub(crate) const HOST: &str = "agents.example.com";
/// What tokens say of who issued them, and for whom.
pub(crate) const ISSUER: &str = "https://login.acme.example";
pub(crate) const AUDIENCE: &str = "agents";
/// The name of the issuer's key.
const KEY_ID: &str = "demo";
/// How long certificate and tokens are good.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A certificate and its key, both in PEM, and the authority that leads to it.
pub(crate) struct Shown {
    pub(crate) root: String,
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Shown {
    /// Makes an authority, and a certificate of it for [`HOST`].
    pub(crate) fn make() -> anyhow::Result<Self> {
        let authority = KeyPair::generate()?;
        let mut root = CertificateParams::default();
        root.distinguished_name = named("the demo's authority");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_certificate = root.self_signed(&authority)?;
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(vec![HOST.to_owned()])?;
        leaf.distinguished_name = named(HOST);
        leaf.not_after = (SystemTime::now() + LIFETIME).into();
        let leaf = leaf.signed_by(&key, &Issuer::new(root, authority))?;
        Ok(Self { root: root_certificate.pem(), chain: leaf.pem(), key: key.serialize_pem() })
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// Issues tokens (JWT, ES256).
pub(crate) struct TokenIssuer(KeyPair);

impl TokenIssuer {
    /// One with a new key.
    pub(crate) fn make() -> anyhow::Result<Self> {
        Ok(Self(KeyPair::generate()?))
    }

    /// Its public key, as a JWK set (RFC 7517).
    pub(crate) fn keys(&self) -> anyhow::Result<String> {
        // SEC 1, section 2.3.3: an uncompressed point is 4, then both coordinates.
        let point = self.0.public_key_raw();
        let (x, y) = point
            .strip_prefix(&[4])
            .filter(|both| both.len() == 64)
            .map(|both| both.split_at(32))
            .context("the key is no point of P-256")?;
        let text = |number| URL_SAFE_NO_PAD.encode(number);
        let key = json!({
            "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": KEY_ID, "alg": "ES256", "use": "sig",
        });
        Ok(json!({ "keys": [key] }).to_string())
    }

    /// A token of this person, who is of this group.
    pub(crate) fn token(&self, person: &str, group: &str) -> anyhow::Result<String> {
        let expires = (SystemTime::now() + LIFETIME).duration_since(UNIX_EPOCH)?.as_secs();
        let claims =
            json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": person, "exp": expires, "groups": [group] });
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(self.0.serialized_der());
        jsonwebtoken::encode(&header, &claims, &key).context("the token cannot be signed")
    }
}
