//! Checks of `TokenIssuer`.

use api::issuer::{ApiKeys, Jwks, JwtIssuer, TokenIssuerSpec};

use super::{
    fault::{Fault, Within, some, unique},
    jwks, text,
    upstream::{check_service_ref, only_true},
};

pub(super) fn check(spec: &TokenIssuerSpec) -> Result<(), Fault> {
    if spec.jwt.is_some() == spec.api_keys.is_some() {
        let what = if spec.jwt.is_some() { "both" } else { "neither" };
        return Err(Fault::conflict(format!("has {what} of jwt and apiKeys"))
            .remedy("write exactly one of them; another TokenIssuer can have the other"));
    }
    some("jwt", spec.jwt.as_ref(), check_jwt)?;
    some("apiKeys", spec.api_keys.as_ref(), check_api_keys)
}

fn check_jwt(jwt: &JwtIssuer) -> Result<(), Fault> {
    unique("audiences", &jwt.audiences, |audience| Some(audience.as_str()), "audience")?;
    some("authorizationServer", jwt.authorization_server.as_deref(), text::web_url)?;
    check_jwks(&jwt.jwks).within("jwks")
}

fn check_jwks(keys: &Jwks) -> Result<(), Fault> {
    let written = [keys.inline.is_some(), keys.url.is_some(), keys.service_ref.is_some()];
    match written.iter().filter(|written| **written).count() {
        1 => {}
        count => {
            let what = if count == 0 { "none" } else { "several" };
            return Err(Fault::conflict(format!("has {what} of inline, url, serviceRef"))
                .remedy("write exactly one of them"));
        }
    }
    some("inline", keys.inline.as_deref(), jwks::check)?;
    some("url", keys.url.as_deref(), check_url)?;
    only_true("private", keys.private)?;
    if keys.private.is_some() && keys.url.is_none() {
        return Err(Fault::conflict("belongs to a url").remedy("take it out").within("private"));
    }
    some("serviceRef", keys.service_ref.as_ref(), |service| {
        check_service_ref(service)?;
        match service.namespace {
            Some(_) => Ok(()),
            None => Err(Fault::new(api::Reason::MissingField, "is missing")
                .remedy("a TokenIssuer stands in no namespace: name that of the Service")
                .within("namespace")),
        }
    })?;
    match (&keys.service_ref, keys.path.as_deref()) {
        (Some(_), Some(path)) => text::path(path).within("path"),
        (Some(_), None) => Err(Fault::new(api::Reason::MissingField, "is missing")
            .remedy("say where the Service has the keys, for example path: /.well-known/jwks.json")
            .within("path")),
        (None, Some(_)) => Err(Fault::conflict("belongs to a serviceRef")
            .remedy("write it into the url, or take it out")
            .within("path")),
        (None, None) => Ok(()),
    }
}

/// Where keys are fetched: by TLS alone, since whoever changes them on the way can make any token.
fn check_url(url: &str) -> Result<(), Fault> {
    let wrong = || {
        Fault::invalid(format!("{url:?} is not where keys are fetched")).remedy(
            "write an https URL with a lower case host: https://login.example.com/.well-known/jwks.json",
        )
    };
    if url.starts_with("http://") {
        return Err(Fault::invalid(
            "keys are fetched by TLS alone: whoever changes them on the way can make any token",
        )
        .remedy("write https://, or name a Service of the mesh by serviceRef"));
    }
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    if rest.contains(|letter: char| letter == '#' || letter.is_whitespace()) {
        return Err(wrong());
    }
    // A query without a path is not taken: `https://a?b` reads as a host that has a question mark.
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let legal_port =
        port.is_none_or(|port| port.len() <= 5 && port.parse::<u16>().is_ok_and(|port| port > 0));
    match text::is_dns_name(host) && legal_port {
        true => Ok(()),
        false => Err(wrong()),
    }
}

fn check_api_keys(keys: &ApiKeys) -> Result<(), Fault> {
    some("header", keys.header.as_deref(), text::header_of_others)?;
    text::label(&keys.secret_ref.namespace).within("namespace").within("secretRef")?;
    text::dns_name(&keys.secret_ref.name).within("name").within("secretRef")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_by_tls_from_a_plain_host() {
        for good in ["https://a", "https://a.b/jwks", "https://127.0.0.1:8443/a?b=c"] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a",
            "http://a/jwks",
            "https://",
            "https://a:0",
            "https://a:65536",
            "https://a:x",
            "https://u@a/",
            "https://a#b",
            "https://A",
            "https://a/ b",
            "https://[::1]/",
            "https://a?b",
        ] {
            assert!(check_url(bad).is_err(), "{bad} was accepted");
        }
    }
}
