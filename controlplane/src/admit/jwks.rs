//! Checks of a JWK set (RFC 7517) that is written inline: public keys, of the kinds by which tokens are verified.

use base64::Engine as _;
use serde_json::Value;

use super::fault::Fault;

/// Most keys of one set.
const KEYS_MAX: usize = 64;
/// Smallest modulus of RSA, in bytes (RFC 7518, section 3.3).
const RSA_BYTES_MIN: usize = 256;
/// Largest, as verifiers take it.
const RSA_BYTES_MAX: usize = 1024;

/// Members that only private and symmetric keys have.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

pub(super) fn check(text: &str) -> Result<(), Fault> {
    const EXAMPLE: &str =
        "a JWK set is {\"keys\": [{\"kty\": \"RSA\", \"kid\": \"1\", \"n\": \"...\", \"e\": \"AQAB\"}]}";
    // What the parser says may repeat what stands there, and that may be a key that should not.
    let set: Value = serde_json::from_str(text).map_err(|error| {
        Fault::invalid(format!("is not JSON, at line {} column {}", error.line(), error.column()))
            .remedy(EXAMPLE)
    })?;
    let keys = set
        .get("keys")
        .and_then(Value::as_array)
        .ok_or_else(|| Fault::invalid("is not a JWK set").remedy(EXAMPLE))?;
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(
            Fault::invalid(format!("has {} keys", keys.len())).remedy(format!("write 1 to {KEYS_MAX}"))
        );
    }
    for (index, key) in keys.iter().enumerate() {
        check_key(key)
            .map_err(|(message, remedy)| Fault::invalid(format!("keys[{index}] {message}")).remedy(remedy))?;
    }
    let names: Vec<&str> = keys.iter().filter_map(|key| key.get("kid")?.as_str()).collect();
    match names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        Some((_, name)) => {
            let shown: String = name.chars().take(64).collect();
            Err(Fault::conflict(format!("has two keys with kid {shown:?}"))
                .remedy("give each a kid of its own"))
        }
        None => Ok(()),
    }
}

type Wrong = (&'static str, &'static str);

fn check_key(key: &Value) -> Result<(), Wrong> {
    let Some(key) = key.as_object() else { return Err(("is not an object", "a key is a JSON object")) };
    if SECRET_MEMBERS.iter().any(|member| key.contains_key(*member)) {
        return Err((
            "is a secret key",
            "write the public half alone, and issue a new key: this one was shown",
        ));
    }
    if key.get("use").is_some_and(|usage| usage != "sig") {
        return Err(("is not for signatures", "take it out, or write use: sig"));
    }
    let text = |member: &str| key.get(member).and_then(Value::as_str).unwrap_or_default();
    let bytes = |member: &str| {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text(member)).unwrap_or_default()
    };
    match (text("kty"), text("crv")) {
        ("RSA", _) => {
            let modulus = bytes("n");
            let size = modulus.iter().skip_while(|byte| **byte == 0).count();
            match (RSA_BYTES_MIN..=RSA_BYTES_MAX).contains(&size) && !bytes("e").is_empty() {
                true => Ok(()),
                false => {
                    Err(("is no RSA key of 2048 to 8192 bits", "write n and e in base64url, without padding"))
                }
            }
        }
        ("EC", curve @ ("P-256" | "P-384")) => {
            let size = if curve == "P-256" { 32 } else { 48 };
            match bytes("x").len() == size && bytes("y").len() == size {
                true => Ok(()),
                false => Err(("is no point of its curve", "write x and y in base64url, without padding")),
            }
        }
        ("OKP", "Ed25519") if bytes("x").len() == 32 => Ok(()),
        _ => Err((
            "is of a kind that is not understood",
            "RSA, EC with P-256 or P-384, and OKP with Ed25519 are",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b64(bytes: &[u8]) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn rsa(bytes: usize) -> String {
        format!(r#"{{"kty": "RSA", "kid": "{bytes}", "n": "{}", "e": "AQAB"}}"#, b64(&vec![1; bytes]))
    }

    fn ec(curve: &str, bytes: usize) -> String {
        let part = b64(&vec![2; bytes]);
        format!(r#"{{"kty": "EC", "crv": "{curve}", "x": "{part}", "y": "{part}"}}"#)
    }

    fn set(keys: &[String]) -> Result<(), Fault> {
        check(&format!(r#"{{"keys": [{}]}}"#, keys.join(",")))
    }

    #[test]
    fn a_set_has_public_keys_by_which_tokens_are_verified() {
        assert!(set(&[rsa(256), rsa(1024), ec("P-256", 32), ec("P-384", 48)]).is_ok());
        assert!(set(&[format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": "{}"}}"#, b64(&[3; 32]))]).is_ok());
        for bad in [
            rsa(255),
            rsa(1025),
            ec("P-256", 31),
            ec("P-521", 66),
            r#"{"kty": "oct", "k": "c2VjcmV0"}"#.to_owned(),
            r#"{"kty": "oct"}"#.to_owned(),
            rsa(256).replace("\"e\"", "\"d\": \"AQAB\", \"e\""),
            rsa(256).replace("\"e\"", "\"use\": \"enc\", \"e\""),
            "1".to_owned(),
            "{}".to_owned(),
        ] {
            assert!(set(std::slice::from_ref(&bad)).is_err(), "{bad} was accepted");
        }
    }

    #[test]
    fn a_set_is_json_with_one_to_its_most_keys_of_different_names() {
        for bad in ["", "{", "[]", "{}", r#"{"keys": {}}"#, r#"{"keys": []}"#] {
            assert!(check(bad).is_err(), "{bad} was accepted");
        }
        let many = |count: usize| set(&vec![ec("P-256", 32); count]);
        assert!(many(KEYS_MAX).is_ok());
        assert!(many(KEYS_MAX + 1).is_err());
        assert!(set(&[rsa(256), rsa(257)]).is_ok());
        assert!(set(&[rsa(256), rsa(256)]).is_err());
    }

    #[test]
    fn a_refusal_repeats_no_key() {
        let secret = r#"{"keys": [{"kty": "oct", "k": "hunter2"}]}"#;
        assert!(!check(secret).expect_err("a secret key").to_string().contains("hunter2"));
        assert!(!check(r#"{"keys": hunter2}"#).expect_err("no JSON").to_string().contains("hunter2"));
    }
}
