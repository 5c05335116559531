//! TokenIssuers: whose tokens and keys of users are taken. Of keys, proxies are told digests alone.

use std::{collections::BTreeMap, sync::Arc};

use api::{
    Kind, Name, Resource as Object,
    issuer::{ApiKeys, Jwks, JwtIssuer, TokenIssuerSpec},
};
use aws_lc_rs::digest;
use mesh::resource::{ApiKey, BackendTarget, ExternalHost, HostTls, Issuer, IssuerKind, JwtKeys, Resource};

use crate::{
    made::Made,
    names,
    reader::Reader,
    secrets,
    status::{ConditionKind, Conditions, Fault, Status},
    upstream,
};

pub(super) fn compute(reader: &Reader<'_>, name: &Name, object: &Object<TokenIssuerSpec>) -> Made {
    let conditions = Conditions::of(object.metadata.generation);
    let (kind, fault) = match (&object.spec.jwt, &object.spec.api_keys) {
        (Some(said), _) => jwt(reader, name, said),
        (None, Some(said)) => api_keys(reader, said),
        (None, None) => (nothing(), Some(Fault::new("Invalid", "it says neither jwt nor apiKeys"))),
    };
    let mut made = Made::default();
    made.add(Resource::Issuer(Arc::new(Issuer {
        name: names::object(name),
        broken: fault.as_ref().map(|fault| fault.message.as_str().into()),
        kind,
    })));
    made.status = Some((
        name.clone(),
        Status {
            conditions: vec![
                conditions.holds(ConditionKind::Accepted, "the issuer is valid"),
                conditions.judge(ConditionKind::ResolvedRefs, fault.as_ref(), "its keys are there"),
                conditions.judge(
                    ConditionKind::Programmed,
                    fault.as_ref(),
                    "sent to the Gateways that authenticate by it",
                ),
            ],
            ..Status::default()
        },
    ));
    made
}

/// Of an issuer that cannot be realised: no key is valid.
fn nothing() -> IssuerKind {
    IssuerKind::ApiKeys { header: api::issuer::API_KEY_HEADER.into(), keys: BTreeMap::new() }
}

fn jwt(reader: &Reader<'_>, name: &Name, said: &JwtIssuer) -> (IssuerKind, Option<Fault>) {
    let kind = |keys: JwtKeys| IssuerKind::Jwt {
        issuer: said.issuer.as_str().into(),
        audiences: said.audiences.iter().map(|audience| audience.as_str().into()).collect(),
        keys,
        authorization_server: said.authorization_server.as_ref().map(|server| server.as_str().into()),
    };
    match keys(reader, name, &said.jwks) {
        Ok(keys) => (kind(keys), None),
        Err(fault) => {
            let target = BackendTarget::Broken(fault.message.as_str().into());
            (kind(JwtKeys::Fetched { target, path: "/".into() }), Some(fault))
        }
    }
}

fn keys(reader: &Reader<'_>, name: &Name, said: &Jwks) -> Result<JwtKeys, Fault> {
    if let Some(inline) = &said.inline {
        return Ok(JwtKeys::Inline(inline.as_str().into()));
    }
    if let Some(url) = &said.url {
        let (target, path) = of_url(url.as_str(), said.private == Some(true))?;
        return Ok(JwtKeys::Fetched { target, path });
    }
    let (Some(to), Some(path)) = (&said.service_ref, &said.path) else {
        return Err(Fault::new("Invalid", "jwks says none of inline, url and serviceRef with path"));
    };
    let target = upstream::service_of_platform(reader, name, to)?;
    Ok(JwtKeys::Fetched { target, path: path.as_str().into() })
}

/// The host and the path of an `https` URL.
fn of_url(url: &str, private: bool) -> Result<(BackendTarget, Arc<str>), Fault> {
    let wrong = || Fault::new("Invalid", format!("{url} is no URL of a host by https"));
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (authority, api::backend::PORT_TLS),
    };
    if host.is_empty() || port == 0 {
        return Err(wrong());
    }
    let host = upstream::hostname(host);
    let tls = Some(HostTls { hostname: host.clone(), roots: None });
    Ok((BackendTarget::Host(ExternalHost { host, port, tls, private }), path.into()))
}

fn api_keys(reader: &Reader<'_>, said: &ApiKeys) -> (IssuerKind, Option<Fault>) {
    let (keys, fault) = match digests(reader, said) {
        Ok(keys) => (keys, None),
        Err(fault) => (BTreeMap::new(), Some(fault)),
    };
    (IssuerKind::ApiKeys { header: said.header().into(), keys }, fault)
}

fn digests(reader: &Reader<'_>, said: &ApiKeys) -> Result<BTreeMap<Arc<str>, ApiKey>, Fault> {
    let name = Name::new(Kind::Secret, said.secret_ref.namespace.as_str(), said.secret_ref.name.as_str());
    let secret = reader
        .secret(&name.namespace, &name.name)
        .ok_or_else(|| Fault::new("SecretNotFound", format!("there is no {name}: make it")))?;
    let mut found: BTreeMap<Arc<str>, ApiKey> = BTreeMap::new();
    for subject in secrets::keys(secret) {
        let key = secrets::token(secret, subject)?;
        let entry = ApiKey { subject: subject.into(), claims: BTreeMap::new() };
        if let Some(other) = found.insert(hex_digest(&key), entry) {
            // Whoever shows it could be either.
            let message = format!("{} and {subject} have the same key in {name}", other.subject);
            return Err(Fault::new("InvalidSecret", message));
        }
    }
    Ok(found)
}

fn hex_digest(key: &str) -> Arc<str> {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let of = |url: &str| match of_url(url, false) {
            Ok((BackendTarget::Host(host), path)) => Ok(format!("{} {} {path}", host.host, host.port)),
            Ok((other, _)) => Err(format!("{other:?}")),
            Err(fault) => Err(fault.reason.to_owned()),
        };
        assert_eq!(of("https://Keys.example.com/jwks?v=1").as_deref(), Ok("keys.example.com 443 /jwks?v=1"));
        assert_eq!(of("https://keys.example.com:8443").as_deref(), Ok("keys.example.com 8443 /"));
        for wrong in ["http://keys.example.com/", "https://", "https:///x", "https://a:0/", "https://a:x/"] {
            assert_eq!(of(wrong), Err("Invalid".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn keys_are_told_as_digests() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(&*hex_digest(""), empty);
    }
}
