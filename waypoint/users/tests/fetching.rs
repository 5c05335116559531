//! Keys that are fetched: what the place of the keys does to us, it does to nobody else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use mesh::resource::Issuer;
use serde_json::json;
use support::*;
use users::Users;

struct Bench {
    signer: Signer,
    place: Arc<Place>,
    users: Users,
    issuer: Arc<Issuer>,
}

impl Bench {
    fn new(serves: impl FnOnce(&Signer) -> Serves) -> Self {
        let signer = Signer::new();
        let place = Place::new(serves(&signer));
        Self { users: Users::new(place.errands()), issuer: issuer(fetched()), signer, place }
    }

    fn good(signer: &Signer) -> Serves {
        Serves::Answer(200, signer.set().to_string().into_bytes())
    }

    async fn passes(&self, kid: &str) -> bool {
        let token = self.signer.token(&json!({"alg": "ES256", "kid": kid}), &claims());
        self.takes(&token).await
    }

    async fn takes(&self, token: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let known = |_: &str| Some(Arc::clone(&self.issuer));
        self.users.authenticate(&mut headers, &[demand(true, &["people"])], &known, now()).await.is_ok()
    }
}

/// Anchors 3.1, "JWKS fetch failure": never a default key, never a crash.
#[tokio::test(start_paused = true)]
async fn attack_jwks_fetch_failure_every_token_is_refused() {
    let huge = |signer: &Signer, surplus: usize| {
        let set = signer.set().to_string();
        let pad = users::FETCH_BYTES_MAX - set.len() + surplus;
        Serves::Answer(200, format!("{set}{}", " ".repeat(pad)).into_bytes())
    };
    let bench = Bench::new(|signer| huge(signer, 0));
    assert!(bench.passes("p256").await, "the largest that is read");
    let right = |signer: &Signer| signer.set().to_string().into_bytes();
    let set = |text: &str| Serves::Answer(200, text.as_bytes().to_vec());
    type Making<'a> = &'a dyn Fn(&Signer) -> Serves;
    let cases: [(&str, Making<'_>); 11] = [
        ("404", &|signer| Serves::Answer(404, right(signer))),
        ("redirect", &|signer| Serves::Answer(302, right(signer))),
        ("hang", &|_| Serves::Hangs),
        ("gone", &|_| Serves::Gone),
        ("empty", &|_| set("")),
        ("no keys", &|_| set(r#"{"keys":[]}"#)),
        ("garbage", &|_| Serves::Answer(200, vec![0xff; 4096])),
        ("HTML", &|_| set("<html>")),
        ("deep", &|_| set(&"[".repeat(60_000))),
        ("huge", &|signer| huge(signer, 1)),
        ("symmetric", &|_| set(r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"p256"}]}"#)),
    ];
    for (what, serves) in cases {
        let bench = Bench::new(serves);
        assert!(!bench.passes("p256").await, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_at_most_once_a_minute() {
    let bench = Bench::new(Bench::good);
    assert!(bench.passes("p256").await);
    assert_eq!(bench.place.asked(), 1);
    for _ in 0..20 {
        assert!(!bench.passes("unknown").await);
    }
    assert_eq!(bench.place.asked(), 1);
    tokio::time::advance(users::REFRESH_PAUSE).await;
    for _ in 0..20 {
        assert!(!bench.passes("unknown").await);
    }
    assert_eq!(bench.place.asked(), 2);
    // A key that came meanwhile is found.
    let mut renamed = bench.signer.jwk("p256");
    renamed["kid"] = json!("new");
    *bench.place.serves.lock() = Serves::Answer(200, json!({"keys": [renamed]}).to_string().into_bytes());
    tokio::time::advance(users::REFRESH_PAUSE).await;
    assert!(bench.passes("new").await);
    assert!(!bench.passes("p256").await, "and one that went is gone");
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_for_an_hour_when_fetches_fail() {
    let bench = Bench::new(Bench::good);
    assert!(bench.passes("p256").await);
    *bench.place.serves.lock() = Serves::Hangs;
    tokio::time::advance(users::KEPT_FOR - Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    assert!(bench.passes("p256").await);
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits while keys are held");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!bench.passes("p256").await);
    *bench.place.serves.lock() = Bench::good(&bench.signer);
    tokio::time::advance(users::RETRY_PAUSE + users::FETCH_TIMEOUT).await;
    assert!(bench.passes("p256").await);
}

#[tokio::test(start_paused = true)]
async fn one_fetch_serves_all_who_wait_and_survives_the_first_who_leaves() {
    let bench = Arc::new(Bench::new(|_| Serves::Hangs));
    // Whoever asks first leaves at once.
    assert!(tokio::time::timeout(Duration::from_millis(1), bench.passes("p256")).await.is_err());
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.passes("p256").await })
        })
        .collect();
    for task in tasks {
        assert!(!task.await.unwrap());
    }
    assert_eq!(bench.place.asked(), 1);
    *bench.place.serves.lock() = Bench::good(&bench.signer);
    tokio::time::advance(users::RETRY_PAUSE).await;
    assert!(bench.passes("p256").await);
    assert_eq!(bench.place.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_would_not_help_fetch_nothing() {
    let bench = Bench::new(Bench::good);
    let head = json!({"alg": "ES256", "kid": "p256"});
    for claims in
        [claims_with("aud", json!("x")), claims_with("iss", json!("x")), claims_with("exp", json!(1))]
    {
        assert!(!bench.takes(&bench.signer.token(&head, &claims)).await);
    }
    assert_eq!(bench.place.asked(), 0);
}
