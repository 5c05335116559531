//! Attacks on tokens and keys, each by the name of its class, and what is refused of them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use mesh::{
    Reason,
    facts::User,
    resource::{Authentication, Issuer, JwtKeys},
};
use serde_json::{Value, json};
use support::*;
use users::{Refusal, Users};

/// Verifies one set of headers.
async fn ask(
    users: &Users,
    issuers: &[(&str, Arc<Issuer>)],
    demand: &Authentication,
    headers: &[(&'static str, String)],
) -> (Result<Option<Arc<User>>, Refusal>, HeaderMap) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let known = |name: &str| issuers.iter().find(|(held, _)| *held == name).map(|(_, it)| Arc::clone(it));
    let result = users.authenticate(&mut map, std::slice::from_ref(demand), &known, now()).await;
    (result, map)
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

struct Bench {
    signer: Signer,
    users: Users,
    issuer: Arc<Issuer>,
}

impl Bench {
    fn new() -> Self {
        let signer = Signer::new();
        let issuer = issuer(JwtKeys::Inline(signer.set().to_string().into()));
        Self { signer, users: Users::new(Place::new(Serves::Gone).errands()), issuer }
    }

    async fn user(&self, token: &str) -> Result<Arc<User>, String> {
        let issuers = [("people", Arc::clone(&self.issuer))];
        let (result, left) = ask(&self.users, &issuers, &demand(true, &["people"]), &bearer(token)).await;
        assert!(left.is_empty(), "the token does not travel on");
        match result {
            Ok(user) => Ok(user.unwrap()),
            Err(refusal) => {
                assert_eq!(refusal.denial.reason, Reason::UserInvalid);
                let detail = refusal.denial.detail.unwrap().to_string();
                assert!(!detail.contains(token), "a refusal does not tell the token");
                Err(detail)
            }
        }
    }

    #[track_caller]
    fn refused(&self, result: Result<Arc<User>, String>, why: &str, what: &str) {
        match result {
            Ok(user) => panic!("{what}: {} passes", user.subject),
            Err(detail) => assert!(detail.contains(why), "{what}: {detail}"),
        }
    }
}

#[tokio::test]
async fn a_good_token_of_each_algorithm_names_its_user() {
    let bench = Bench::new();
    for (algorithm, kid) in [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
    ] {
        for head in [json!({"alg": algorithm, "kid": kid, "typ": "at+jwt"}), json!({"alg": algorithm})] {
            let user = bench.user(&bench.signer.token(&head, &claims())).await.unwrap();
            assert_eq!((&*user.issuer, &*user.subject), ("people", "ada"));
            assert!(user.scopes.contains("write"));
            assert_eq!(*user.claims, claims());
        }
    }
}

/// RFC 8725 and anchors 3.1, "JWT confusion".
#[tokio::test]
async fn attack_jwt_confusion_algorithms() {
    let bench = Bench::new();
    let good = claims();
    let (modulus, _) = bench.signer.rsa_parts();
    let hmac = |key: &[u8], kid: &str| {
        let message =
            format!("{}.{}", b64(json!({"alg": "HS256", "kid": kid}).to_string()), b64(good.to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        format!("{message}.{}", b64(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    for (token, what) in [
        (bench.signer.token(&json!({"alg": "none"}), &good), "none"),
        (bench.signer.token(&json!({"alg": "None", "kid": "rsa"}), &good), "None"),
        (bench.signer.token_signed("RS256", r#"{"kid":"rsa"}"#, &good.to_string()), "no algorithm"),
        (hmac(&modulus, "rsa"), "HS256 with the RSA key as secret"),
        (hmac(b"", "rsa"), "HS256 with an empty secret"),
        (bench.signer.token(&json!({"alg": "ES512", "kid": "p256"}), &good), "ES512"),
        (bench.signer.token(&json!({"alg": 256}), &good), "a number"),
    ] {
        bench.refused(bench.user(&token).await, "algorithm", what);
    }
    for (signed, said, kid) in [
        ("RS256", "PS256", "rsa"),
        ("PS256", "RS256", "rsa"),
        ("ES256", "ES384", "p384"),
        ("ES256", "RS256", "p256"),
        ("RS256", "ES256", "rsa"),
        ("RS256", "EdDSA", "ed"),
        ("ES384", "ES256", "p256"),
    ] {
        let head = json!({"alg": said, "kid": kid}).to_string();
        let token = bench.signer.token_signed(signed, &head, &good.to_string());
        bench.refused(bench.user(&token).await, "signed", &format!("{signed} said to be {said} by {kid}"));
    }
}

#[tokio::test]
async fn attack_jwt_confusion_headers() {
    let bench = Bench::new();
    let other = Signer::new();
    let good = claims();
    let head = |name: &str, value: Value| {
        let mut head = json!({"alg": "RS256", "kid": "rsa"});
        head[name] = value;
        head
    };
    for (name, value, why) in [
        ("crit", json!(["exp"]), "extension"),
        ("crit", json!([]), "extension"),
        ("typ", json!("logout+jwt"), "another sort"),
        ("typ", json!("dpop+jwt"), "another sort"),
        ("typ", json!(1), "another sort"),
        ("cty", json!("JWT"), "another sort"),
        ("kid", json!("../../rsa"), "signed"),
        ("kid", json!("rsa/../rsa"), "signed"),
        ("kid", json!("/dev/null"), "signed"),
        ("kid", json!("rsa\u{0}"), "signed"),
        ("kid", json!("' UNION SELECT 'rsa"), "signed"),
        ("kid", json!(["rsa"]), "can be read"),
        ("kid", json!("k".repeat(257)), "can be read"),
    ] {
        let token = bench.signer.token(&head(name, value.clone()), &good);
        bench.refused(bench.user(&token).await, why, &format!("{name}: {value}"));
    }
    // A key or an address of one that the token brings is not looked at: neither does it help, nor does it hurt.
    for (name, value) in [
        ("jku", json!("http://169.254.169.254/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", other.jwk("rsa")),
        ("x5c", json!(["AAAA"])),
    ] {
        assert!(bench.user(&bench.signer.token(&head(name, value.clone()), &good)).await.is_ok(), "{name}");
        bench.refused(bench.user(&other.token(&head(name, value), &good)).await, "signed", name);
    }
}

#[tokio::test]
async fn attack_jwt_confusion_claims() {
    let bench = Bench::new();
    let head = json!({"alg": "ES256", "kid": "p256"});
    for (name, value, expected) in [
        ("iss", json!("https://id.example/"), Some("issued")),
        ("iss", json!("https://ID.example"), Some("issued")),
        ("iss", json!(["https://id.example"]), Some("issued")),
        ("iss", Value::Null, Some("issued")),
        ("aud", json!("planner"), None),
        ("aud", json!(["x", "planner"]), None),
        ("aud", json!(["x", "tools"]), None),
        ("aud", json!("x"), Some("somebody else")),
        ("aud", json!("Planner"), Some("somebody else")),
        ("aud", json!("planner tools"), Some("somebody else")),
        ("aud", json!([]), Some("somebody else")),
        ("aud", json!(["planner", 1]), Some("form")),
        ("aud", json!({"planner": true}), Some("form")),
        ("aud", Value::Null, Some("somebody else")),
        ("exp", json!(NOW + 1), None),
        ("exp", json!(NOW), Some("ended")),
        ("exp", json!(NOW - 1), Some("ended")),
        ("exp", json!(0), Some("ended")),
        ("exp", json!(-1), Some("form")),
        ("exp", json!(u64::MAX), Some("form")),
        ("exp", json!(1e300), Some("form")),
        ("exp", json!("9999999999"), Some("form")),
        ("exp", json!(true), Some("form")),
        ("exp", Value::Null, Some("ended")),
        ("nbf", json!(NOW + 60), None),
        ("nbf", json!(NOW + 61), Some("not valid yet")),
        ("nbf", json!("x"), Some("form")),
        ("iat", json!(NOW + 60), None),
        ("iat", json!(NOW + 61), Some("not valid yet")),
        ("iat", json!(NOW as f64 - 0.5), None),
        ("sub", Value::Null, Some("nobody")),
        ("sub", json!(""), Some("nobody")),
        ("sub", json!("a\nb"), Some("nobody")),
        ("sub", json!(1), Some("nobody")),
        ("sub", json!("s".repeat(512)), None),
        ("sub", json!("s".repeat(513)), Some("nobody")),
        ("scope", json!(["read"]), Some("form")),
        ("scp", json!(["read"]), None),
        // The authorized party is no audience.
        ("azp", json!("planner"), None),
    ] {
        let token = bench.signer.token(&head, &claims_with(name, value.clone()));
        match expected {
            None => assert!(bench.user(&token).await.is_ok(), "{name}: {value}"),
            Some(why) => bench.refused(bench.user(&token).await, why, &format!("{name}: {value}")),
        }
    }
    let azp = json!({"iss": "https://id.example", "azp": "planner", "aud": "x", "sub": "a", "exp": NOW + 9});
    bench.refused(bench.user(&bench.signer.token(&head, &azp)).await, "somebody else", "azp in place of aud");
    // Two readers could take different ones.
    let twice = r#"{"iss":"https://id.example","aud":"planner","sub":"ada","sub":"root","exp":9999999999}"#;
    let token = bench.signer.token_signed("ES256", &head.to_string(), twice);
    bench.refused(bench.user(&token).await, "more than one", "duplicate claims");
    let twice = r#"{"alg":"ES256","kid":"p256","alg":"none"}"#;
    let token = bench.signer.token_signed("ES256", twice, &claims().to_string());
    bench.refused(bench.user(&token).await, "more than one", "duplicate header members");
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let bench = Bench::new();
    let good = bench.signer.token(&json!({"alg": "ES256"}), &claims());
    let parts: Vec<&str> = good.split('.').collect();
    let mut changed = claims();
    changed["sub"] = json!("root");
    for token in [
        "x".to_owned(),
        "..".to_owned(),
        "a.b".to_owned(),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}.x", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], b64(changed.to_string()), parts[2]),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[1], parts[1], parts[2]),
        format!("{}.{}.{}", b64("[]"), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], b64("{\"a\":".repeat(2000)), parts[2]),
        format!("{good}{}", "A".repeat(users::TOKEN_BYTES_MAX)),
    ] {
        assert!(bench.user(&token).await.is_err(), "{token}");
    }
    // The longest that is read, and the first that is not.
    let padded = |length: usize| {
        let mut claims = claims();
        claims["pad"] = json!("p".repeat(length));
        bench.signer.token(&json!({"alg": "ES256"}), &claims)
    };
    let most = "Bearer ".len();
    let length =
        (0..13_000).rev().find(|length| padded(*length).len() + most <= users::TOKEN_BYTES_MAX).unwrap();
    assert!(bench.user(&padded(length)).await.is_ok());
    bench.refused(bench.user(&padded(length + 8)).await, "too long", "one that is longer");
}

/// Anchors 3.2, "token passthrough, audience": the token of a user serves nobody but us.
#[tokio::test]
async fn attack_token_passthrough_no_credential_travels_on() {
    let bench = Bench::new();
    let token = bench.signer.token(&json!({"alg": "ES256"}), &claims());
    let issuers =
        [("people", Arc::clone(&bench.issuer)), ("keys", key_issuer("x-api-key", &[("k-1", "bot")]))];
    let both = demand(false, &["people", "keys"]);
    let good = format!("Bearer {token}");
    for (headers, expected) in [
        (vec![("authorization", good.clone())], Ok(Some("ada"))),
        (vec![("Authorization", good.to_lowercase())], Err(Reason::UserInvalid)),
        (vec![("authorization", format!("bearer {token}"))], Ok(Some("ada"))),
        (vec![("x-api-key", "k-1".to_owned())], Ok(Some("bot"))),
        (vec![("x_api_key", "k-1".to_owned())], Ok(Some("bot"))),
        (vec![("x-api-key", "k-2".to_owned())], Err(Reason::UserInvalid)),
        (vec![("x-api-key", String::new())], Err(Reason::UserInvalid)),
        (vec![], Ok(None)),
        (vec![("authorization", String::new())], Err(Reason::UserInvalid)),
        (vec![("authorization", "Basic YTpi".to_owned())], Err(Reason::UserInvalid)),
        (vec![("authorization", "Bearer".to_owned())], Err(Reason::UserInvalid)),
        (vec![("authorization", "Bearer  ".to_owned())], Err(Reason::UserInvalid)),
        (vec![("authorization", format!("{good}, {good}"))], Err(Reason::UserInvalid)),
        // Of two, two readers could take different ones.
        (vec![("authorization", good.clone()), ("authorization", good.clone())], Err(Reason::UserInvalid)),
        (vec![("authorization", good.clone()), ("x-api-key", "k-1".to_owned())], Err(Reason::UserInvalid)),
        (vec![("x-api-key", "k-1".to_owned()), ("x_api_key", "k-1".to_owned())], Err(Reason::UserInvalid)),
    ] {
        let mut all = headers.clone();
        all.push(("x-other", "1".to_owned()));
        let (result, left) = ask(&bench.users, &issuers, &both, &all).await;
        let said = result.as_ref().map(|user| user.as_ref().map(|user| &*user.subject));
        assert_eq!(said.map_err(|refusal| refusal.denial.reason), expected, "{headers:?}");
        let names: Vec<_> = left.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["x-other"], "{headers:?}");
    }
}

#[tokio::test]
async fn attack_wrong_audience_or_resource_is_refused_with_metadata() {
    let bench = Bench::new();
    let issuers = [("people", Arc::clone(&bench.issuer))];
    let resource = "https://planner.example/mcp";
    let demand = Authentication { resource: Some(resource.into()), ..demand(true, &["people"]) };
    let head = json!({"alg": "EdDSA", "kid": "ed"});
    let metadata = "https://planner.example/.well-known/oauth-protected-resource/mcp";
    for (aud, passes) in [
        (json!(["planner", resource]), true),
        (json!("planner"), false),
        (json!(resource), false),
        (json!(["planner", "https://planner.example/"]), false),
    ] {
        let token = bench.signer.token(&head, &claims_with("aud", aud.clone()));
        let (result, _) = ask(&bench.users, &issuers, &demand, &bearer(&token)).await;
        assert_eq!(result.is_ok(), passes, "{aud}");
        let Err(refusal) = result else { continue };
        let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
        refusal.challenge.write(&mut status, &mut headers);
        assert_eq!(status, 401);
        let said = format!("Bearer resource_metadata=\"{metadata}\", error=\"invalid_token\"");
        assert_eq!(headers["www-authenticate"], said);
    }
    // Without any credential there is no error to tell (RFC 6750, section 3.1).
    let (result, _) = ask(&bench.users, &issuers, &demand, &[]).await;
    let refusal = result.unwrap_err();
    assert_eq!(refusal.denial.reason, Reason::UserMissing);
    let (mut status, mut headers) = (StatusCode::OK, HeaderMap::new());
    refusal.challenge.write(&mut status, &mut headers);
    assert_eq!(headers["www-authenticate"], format!("Bearer resource_metadata=\"{metadata}\""));
    let document = users::metadata(&demand, |_| Some(Arc::clone(&bench.issuer))).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["resource"], resource);
    assert_eq!(document["authorization_servers"], json!(["https://id.example"]));
    let (host, path) = users::metadata_path(resource).unwrap();
    assert_eq!(
        (host.as_str(), path.as_str()),
        ("planner.example", "/.well-known/oauth-protected-resource/mcp")
    );
}

#[tokio::test]
async fn keys_in_the_authorization_header_are_bearer_tokens() {
    let users = Users::new(Place::new(Serves::Gone).errands());
    let issuers = [("keys", key_issuer("authorization", &[("sk-1", "bot")]))];
    let demand = demand(true, &["keys"]);
    let (result, _) = ask(&users, &issuers, &demand, &bearer("sk-1")).await;
    assert_eq!(&*result.unwrap().unwrap().subject, "bot");
    let (result, _) = ask(&users, &issuers, &demand, &bearer("sk-2")).await;
    assert_eq!(result.unwrap_err().denial.reason, Reason::UserInvalid);
}

#[tokio::test]
async fn an_issuer_that_is_not_held_or_broken_lets_nobody_in() {
    let bench = Bench::new();
    let token = bench.signer.token(&json!({"alg": "ES256"}), &claims());
    let (result, _) = ask(&bench.users, &[], &demand(false, &["people"]), &bearer(&token)).await;
    assert!(result.unwrap_err().denial.detail.unwrap().contains("not held"));
    let broken = Issuer { broken: Some("its keys are no keys".into()), ..Issuer::clone(&bench.issuer) };
    let issuers = [("people", Arc::new(broken))];
    let (result, _) = ask(&bench.users, &issuers, &demand(true, &["people"]), &bearer(&token)).await;
    assert_eq!(result.unwrap_err().denial.reason, Reason::UserInvalid);
}

#[tokio::test]
async fn every_authentication_on_the_way_must_take_the_token() {
    let bench = Bench::new();
    let other = Signer::new();
    let strangers = issuer(JwtKeys::Inline(other.set().to_string().into()));
    let known = |name: &str| Some(Arc::clone(if name == "people" { &bench.issuer } else { &strangers }));
    let token = bench.signer.token(&json!({"alg": "ES256"}), &claims());
    let demands = [demand(false, &["people"]), demand(true, &["strangers"])];
    for (demands, passes) in [(&demands[..1], true), (&demands[..], false)] {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let result = bench.users.authenticate(&mut headers, demands, &known, now()).await;
        assert_eq!(result.is_ok(), passes);
    }
    let nobody = bench.users.authenticate(&mut HeaderMap::new(), &demands, &known, now()).await;
    assert_eq!(nobody.unwrap_err().denial.reason, Reason::UserMissing);
}

#[tokio::test]
async fn keys_that_no_token_may_be_verified_with_are_left_out() {
    let signer = Signer::new();
    let mut private = signer.jwk("p256");
    private["use"] = json!("enc");
    let mut short = signer.jwk("rsa");
    short["n"] = json!(b64([0xffu8; 128]));
    let mut one = signer.jwk("rsa");
    one["e"] = json!(b64([1u8]));
    let mut wrong = signer.jwk("rsa");
    wrong["alg"] = json!("HS256");
    let mut ops = signer.jwk("rsa");
    ops["key_ops"] = json!(["sign"]);
    let mut curve = signer.jwk("p384");
    curve["crv"] = json!("P-256");
    for key in [
        private,
        short,
        one,
        wrong,
        ops,
        curve,
        json!({"kty": "oct", "kid": "rsa", "k": b64("secret")}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!("x"),
    ] {
        let set = json!({"keys": [key]}).to_string();
        assert!(users::Keys::read(set.as_bytes()).is_err(), "{set}");
        let set = json!({"keys": [key, signer.jwk("ed")]}).to_string();
        assert!(users::Keys::read(set.as_bytes()).is_ok(), "{set}");
    }
    let many = |count: usize| json!({"keys": vec![signer.jwk("ed"); count]}).to_string();
    assert!(users::Keys::read(many(users::KEYS_MAX).as_bytes()).is_ok());
    assert_eq!(
        users::Keys::read(many(users::KEYS_MAX + 1).as_bytes()).unwrap_err(),
        users::KeysError::TooMany
    );
}
