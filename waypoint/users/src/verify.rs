//! Says whose a credential is, by the issuers that are taken.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use exchange::Errands;
use http::{HeaderName, header};
use mesh::{
    facts::User,
    resource::{Authentication, Issuer, IssuerKind, JwtKeys},
};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::{
    claims::Expected,
    credential::Credential,
    invalid::Invalid,
    refusal::{Challenge, Refusal},
    source::Source,
    token::Token,
};

/// Most sources of keys that are kept; beyond it those that nobody holds any more are forgotten.
const SOURCES_MAX: usize = 1024;

/// An issuer by its name, and what is held of it.
type Named = (Arc<str>, Option<Arc<Issuer>>);

/// Verifies users. One for a program: it keeps the keys of issuers.
#[derive(Debug)]
pub struct Users {
    errands: Errands,
    sources: Mutex<HashMap<Arc<str>, Arc<Source>>>,
}

impl Users {
    /// Fetches keys by these errands.
    pub fn new(errands: Errands) -> Self {
        Self { errands, sources: Mutex::default() }
    }

    /// The headers that carry credentials for these issuers, besides `Authorization`.
    pub fn headers<'a>(issuers: impl Iterator<Item = &'a Issuer>) -> Vec<HeaderName> {
        let headers = issuers.filter_map(|issuer| match &issuer.kind {
            IssuerKind::ApiKeys { header, .. } => HeaderName::from_bytes(header.as_bytes()).ok(),
            IssuerKind::Jwt { .. } => None,
        });
        headers.filter(|name| *name != header::AUTHORIZATION).collect()
    }

    /// Takes the credential out of a request and says whose it is, as each of these says that users are
    /// authenticated. `Ok(None)`: there is none, and none is needed.
    ///
    /// # Errors
    /// When it is needed and not there, or is there and not valid everywhere.
    pub async fn authenticate(
        &self,
        headers: &mut http::HeaderMap,
        demands: &[Authentication],
        issuer: &(dyn Fn(&str) -> Option<Arc<Issuer>> + Sync),
        now: SystemTime,
    ) -> Result<Option<Arc<User>>, Refusal> {
        let Some(first) = demands.first() else { return Ok(None) };
        let named: Vec<Vec<Named>> = demands
            .iter()
            .map(|demand| demand.issuers.iter().map(|name| (Arc::clone(name), issuer(name))).collect())
            .collect();
        let held = named.iter().flatten().filter_map(|(_, issuer)| issuer.as_deref());
        let key_headers = Self::headers(held);
        let challenge = Challenge::of(first, &key_headers);
        let credential = Credential::take(headers, &key_headers)
            .map_err(|invalid| Refusal::invalid(invalid, challenge.clone()))?;
        let Some(credential) = credential else {
            return match demands.iter().find(|demand| demand.required) {
                Some(demand) => Err(Refusal::missing(Challenge::of(demand, &key_headers))),
                None => Ok(None),
            };
        };
        let mut user = None;
        for (demand, issuers) in demands.iter().zip(&named) {
            let found = self
                .whose(&credential, issuers, demand.resource.as_deref(), now)
                .await
                .map_err(|invalid| Refusal::invalid(invalid, Challenge::of(demand, &key_headers)))?;
            user.get_or_insert(Arc::new(found));
        }
        Ok(user)
    }

    /// Whose a credential is, by the first of these issuers for which it is valid.
    async fn whose(
        &self,
        credential: &Credential,
        issuers: &[Named],
        resource: Option<&str>,
        now: SystemTime,
    ) -> Result<User, Invalid> {
        // The nearest miss is told: of an issuer that it names, rather than of one that it does not.
        let mut miss = match credential {
            Credential::Bearer(_) => Invalid::Issuer,
            Credential::Key { .. } => Invalid::UnknownKey,
        };
        let token = match credential {
            Credential::Bearer(text) => Some(Token::read(text)),
            Credential::Key { .. } => None,
        };
        for (name, issuer) in issuers {
            let Some(issuer) = issuer.as_ref().filter(|issuer| issuer.broken.is_none()) else {
                miss = Invalid::NoIssuer;
                continue;
            };
            match (&issuer.kind, credential) {
                (IssuerKind::Jwt { issuer, audiences, keys, .. }, Credential::Bearer(_)) => {
                    let token = match &token {
                        Some(Ok(token)) => token,
                        Some(Err(invalid)) => {
                            miss = *invalid;
                            continue;
                        }
                        None => continue,
                    };
                    if token.issuer() != Some(issuer) {
                        continue;
                    }
                    let expected = Expected { name, issuer, audiences, resource };
                    match self.verified(token, expected, keys, now).await {
                        Ok(user) => return Ok(user),
                        Err(invalid) => miss = invalid,
                    }
                }
                (IssuerKind::ApiKeys { header, keys }, credential) => {
                    let Some(value) = carried(credential, header) else { continue };
                    // What is compared is a digest of the secret: how long it takes says nothing of the secret
                    // itself, which nobody can approach digit by digit.
                    match keys.get(digest(value).as_str()) {
                        Some(key) => return Ok(key_user(name, key)),
                        None if matches!(credential, Credential::Key { .. }) => miss = Invalid::UnknownKey,
                        None if !matches!(token, Some(Ok(_))) => miss = Invalid::UnknownKey,
                        None => {}
                    }
                }
                (IssuerKind::Jwt { .. }, Credential::Key { .. }) => {}
            }
        }
        Err(miss)
    }

    async fn verified(
        &self,
        token: &Token<'_>,
        expected: Expected<'_>,
        keys: &JwtKeys,
        now: SystemTime,
    ) -> Result<User, Invalid> {
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| Invalid::NotYet)?.as_secs();
        // Before the signature, so that nobody makes us fetch keys for a token that would not help him.
        let user = expected.check(&token.claims, now)?;
        let source = self.source(expected.name, keys);
        let keys = source.keys(token, &self.errands).await.ok_or(Invalid::NoKeys)?;
        if keys.signed(token) { Ok(user) } else { Err(Invalid::Signature) }
    }

    /// The source of an issuer's keys; a new one when the issuer says something else than before.
    fn source(&self, name: &Arc<str>, keys: &JwtKeys) -> Arc<Source> {
        let mut sources = self.sources.lock();
        if let Some(source) = sources.get(name)
            && source.made_of == *keys
        {
            return Arc::clone(source);
        }
        if sources.len() >= SOURCES_MAX {
            sources.clear();
        }
        let source = Arc::new(Source::new(name, keys));
        sources.insert(Arc::clone(name), Arc::clone(&source));
        source
    }
}

/// The key that a credential carries, if it is carried in this header.
fn carried<'a>(credential: &'a Credential, header: &str) -> Option<&'a str> {
    match credential {
        Credential::Bearer(token) => header.eq_ignore_ascii_case("authorization").then_some(token),
        Credential::Key { header: name, value } => {
            header.eq_ignore_ascii_case(name.as_str()).then_some(value)
        }
    }
}

fn digest(value: &str) -> String {
    use std::fmt::Write;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn key_user(issuer: &Arc<str>, key: &mesh::resource::ApiKey) -> User {
    let mut claims: Map<String, Value> =
        key.claims.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    claims.insert("sub".to_owned(), Value::String(key.subject.to_string()));
    User {
        issuer: Arc::clone(issuer),
        subject: Arc::clone(&key.subject),
        audiences: Vec::new(),
        scopes: Default::default(),
        claims: Arc::new(Value::Object(claims)),
    }
}
