//! What Secrets hold: values decoded, tokens and certificates looked at before anybody depends on them.

use std::sync::Arc;

use api::core::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::status::Fault;

/// The type of a Secret that holds a certificate and its key.
pub(crate) const TLS_TYPE: &str = "kubernetes.io/tls";
/// The certificates of a TLS Secret, leaf first.
pub(crate) const TLS_CERTIFICATE: &str = "tls.crt";
/// The private key of a TLS Secret.
pub(crate) const TLS_KEY: &str = "tls.key";

/// The keys that a Secret has.
pub(crate) fn keys(secret: &Secret) -> impl Iterator<Item = &str> {
    let beside = secret.data.keys().filter(|key| !secret.string_data.contains_key(*key));
    secret.string_data.keys().chain(beside).map(String::as_str)
}

/// The value of a key, as text; what stands in `stringData` wins, as with an API server.
pub(crate) fn value(secret: &Secret, key: &str) -> Result<Arc<str>, Fault> {
    let of = |what: &str| format!("key {key} of Secret {} {what}", shown(secret));
    if let Some(text) = secret.string_data.get(key) {
        return Ok(text.as_str().into());
    }
    let Some(encoded) = secret.data.get(key) else {
        return Err(Fault::new("SecretKeyNotFound", format!("Secret {} has no key {key}", shown(secret))));
    };
    // An API server takes line ends in base64; a file may be written with them too.
    let encoded: String = encoded.chars().filter(|char| !char.is_ascii_whitespace()).collect();
    let bytes = STANDARD.decode(encoded).map_err(|_| Fault::new("InvalidSecret", of("is not base64")))?;
    let text = String::from_utf8(bytes).map_err(|_| Fault::new("InvalidSecret", of("is no text")))?;
    Ok(text.into())
}

/// A value that is shown in a header: a line end at its end is the file's, not the token's.
pub(crate) fn token(secret: &Secret, key: &str) -> Result<Arc<str>, Fault> {
    let value = value(secret, key)?;
    let token = value.trim();
    let may_stand = |byte: &u8| (0x20..0x7f).contains(byte);
    if token.is_empty() || !token.as_bytes().iter().all(may_stand) {
        let message = format!("key {key} of Secret {} cannot stand in a header", shown(secret));
        return Err(Fault::new("InvalidSecret", message));
    }
    Ok(token.into())
}

/// True if a text has a whole block of PEM whose label ends so.
pub(crate) fn is_pem(text: &str, label: &str) -> bool {
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let Some((name, body)) = begun.split_once("-----") else { return false };
        let end = format!("-----END {name}-----");
        let Some((body, after)) = body.split_once(end.as_str()) else { return false };
        let body: String = body.chars().filter(|char| !char.is_ascii_whitespace()).collect();
        if name.ends_with(label) && !body.is_empty() && STANDARD.decode(body).is_ok() {
            return true;
        }
        rest = after;
    }
    false
}

/// Checks that a Secret holds a certificate and its key, as `kubernetes.io/tls` has them.
pub(crate) fn check_certificate(secret: &Secret) -> Result<(), Fault> {
    let refuse = |what: String| Fault::new("InvalidCertificateRef", what);
    if secret.kind_of_secret.as_deref() != Some(TLS_TYPE) {
        return Err(refuse(format!("Secret {} is not of type {TLS_TYPE}", shown(secret))));
    }
    for (key, label) in [(TLS_CERTIFICATE, "CERTIFICATE"), (TLS_KEY, "PRIVATE KEY")] {
        let text = value(secret, key).map_err(|fault| refuse(fault.message))?;
        if !is_pem(&text, label) {
            return Err(refuse(format!("key {key} of Secret {} holds no {label} in PEM", shown(secret))));
        }
    }
    Ok(())
}

fn shown(secret: &Secret) -> String {
    let namespace = secret.metadata.namespace.as_deref().unwrap_or(api::metadata::DEFAULT_NAMESPACE);
    format!("{namespace}/{}", secret.metadata.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(json: serde_json::Value) -> Secret {
        let mut object = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        object.as_object_mut().expect("an object").extend(json.as_object().expect("an object").clone());
        serde_json::from_value(object).expect("a Secret")
    }

    #[test]
    fn values_are_decoded_and_plain_text_wins() {
        let secret = secret(serde_json::json!({
            "data": {"a": "b25l\n", "b": "%%", "c": "//79", "d": "dHdv"}, "stringData": {"d": "three"},
        }));
        assert_eq!(value(&secret, "a").as_deref(), Ok("one"));
        assert_eq!(value(&secret, "b").map_err(|fault| fault.reason), Err("InvalidSecret"));
        assert_eq!(value(&secret, "c").map_err(|fault| fault.reason), Err("InvalidSecret"));
        assert_eq!(value(&secret, "d").as_deref(), Ok("three"));
        assert_eq!(value(&secret, "e").map_err(|fault| fault.reason), Err("SecretKeyNotFound"));
        assert_eq!(keys(&secret).collect::<Vec<_>>(), ["d", "a", "b", "c"]);
    }

    #[test]
    fn a_token_can_stand_in_a_header() {
        let of = |text: &str| token(&secret(serde_json::json!({"stringData": {"token": text}})), "token");
        assert_eq!(of("abc\n").as_deref(), Ok("abc"));
        assert!(of("").is_err());
        assert!(of(" \n").is_err());
        assert!(of("a\nb").is_err());
        assert!(of("é").is_err());
    }

    #[test]
    fn a_certificate_is_of_the_type_and_in_pem() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let of = |kind: &str, certificate: &str, key: &str| {
            check_certificate(&secret(serde_json::json!({
                "type": kind, "stringData": {"tls.crt": certificate, "tls.key": key},
            })))
        };
        assert!(of(TLS_TYPE, &pem("CERTIFICATE"), &pem("EC PRIVATE KEY")).is_ok());
        assert!(of("Opaque", &pem("CERTIFICATE"), &pem("PRIVATE KEY")).is_err());
        assert!(of(TLS_TYPE, "Hello world", &pem("PRIVATE KEY")).is_err());
        assert!(of(TLS_TYPE, &pem("CERTIFICATE"), &pem("CERTIFICATE")).is_err());
        assert!(of(TLS_TYPE, "-----BEGIN CERTIFICATE-----", &pem("PRIVATE KEY")).is_err());
    }
}
