//! Users, guards and external authorizers, on the way of a real exchange.

use std::{collections::BTreeMap, sync::Arc};

use mesh::resource::*;

use crate::support::*;

/// SHA-256 of `k-1`.
const DIGEST: &str = "7c35c5a1785d20704e44d5de4beb81c1fce91b6fe48ed7c3159af6f7f832078b";

async fn post(mesh: &Mesh, headers: &[(&str, &str)], text: &str) -> Answer {
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let mut request = request("/").method("POST").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    client.whole(request.body(body(text)).unwrap()).await
}

fn keys() -> Resource {
    let key = ApiKey { subject: "bot".into(), claims: BTreeMap::new() };
    Resource::Issuer(Arc::new(Issuer {
        name: "TokenIssuer/keys".parse().unwrap(),
        broken: None,
        kind: IssuerKind::ApiKeys {
            header: "x-api-key".into(),
            keys: BTreeMap::from([(DIGEST.into(), key)]),
        },
    }))
}

#[tokio::test]
async fn a_user_is_known_before_anything_else_and_his_key_goes_no_further() {
    let mesh = Mesh::new().await;
    let mut web = service(WEB, 1, Protocol::Http);
    for port in web.ports.values_mut() {
        port.traffic.authentication = Some(Authentication {
            required: true,
            issuers: vec!["keys".into()],
            resource: Some("https://web.shop/".into()),
        });
    }
    mesh.apply(vec![keys(), Resource::Service(Arc::new(web))]);
    let nobody = post(&mesh, &[], "{}").await;
    assert_eq!(nobody.status, 401, "{nobody:?}");
    assert_eq!(post(&mesh, &[("x-api-key", "k-2")], "{}").await.status, 401);
    let bot = post(&mesh, &[("x-api-key", "k-1")], "{}").await;
    assert_eq!(bot.status, 200, "{bot:?}");
    assert!(!bot.body.contains("k-1"), "{}", bot.body);
}

/// An application that gives back what it was sent.
fn echoing() -> App {
    app(|request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
        text(body)
    })
}

#[tokio::test]
async fn what_a_guard_in_audit_would_have_refused_is_counted_once_for_each_exchange() {
    let guard = Guard {
        name: "GuardPolicy/shop/keys".parse().unwrap(),
        mode: Mode::Audit,
        broken: None,
        patterns: vec![GuardPattern {
            name: "key".into(),
            finds: Finds::Secret,
            direction: Direction::Both,
            action: GuardAction::Refuse,
        }],
        sizes: GuardSizes { request: Some(64), response: None },
        origins: None,
        external: None,
    };
    let mesh = Mesh::serving(&[("web-1", echoing())], |_| ()).await;
    let open = PolicySet { guards: vec![guard.name.clone()], ..set("open", &[], DefaultAccess::Open) };
    mesh.apply(vec![Resource::Guard(Arc::new(guard)), Resource::PolicySet(Arc::new(open))]);
    let audited = async |headers: &[(&str, &str)], text: &str| {
        let answer = post(&mesh, headers, text).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, text));
        let all = std::mem::take(&mut *mesh.refused.1.lock());
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].as_ref().map(|denial| denial.reason.name())
    };
    assert_eq!(audited(&[], r#"{"a":1}"#).await, None);
    // Found on the way there and back, and counted once.
    assert_eq!(audited(&[], r#"{"a":"sk-abcdefghijklmnopqrstuvwx"}"#).await, Some("GuardRefused"));
    assert_eq!(audited(&[], &format!("\"{}\"", "x".repeat(64))).await, Some("TooMuch"));
    assert_eq!(audited(&[("origin", "https://evil.example")], "{}").await, Some("OriginNotAllowed"));
    assert!(mesh.refused.0.lock().is_empty());
}

#[tokio::test]
async fn what_a_guard_finds_is_masked_or_refused_on_its_way() {
    let guard = Guard {
        name: "GuardPolicy/shop/pii".parse().unwrap(),
        mode: Mode::Enforce,
        broken: None,
        patterns: vec![
            GuardPattern {
                name: "mail".into(),
                finds: Finds::Email,
                direction: Direction::Request,
                action: GuardAction::Mask,
            },
            GuardPattern {
                name: "key".into(),
                finds: Finds::Secret,
                direction: Direction::Request,
                action: GuardAction::Refuse,
            },
        ],
        sizes: GuardSizes { request: Some(256), response: None },
        origins: None,
        external: None,
    };
    let mesh = Mesh::serving(&[("web-1", echoing())], |_| ()).await;
    let open = PolicySet { guards: vec![guard.name.clone()], ..set("open", &[], DefaultAccess::Open) };
    mesh.apply(vec![Resource::Guard(Arc::new(guard)), Resource::PolicySet(Arc::new(open))]);
    let masked = post(&mesh, &[], r#"{"to":"ada\u0040lab.example"}"#).await;
    assert_eq!((masked.status, masked.body.as_str()), (200, r#"{"to":"[mail]"}"#), "{masked:?}");
    let refused = post(&mesh, &[], r#"{"a":"sk-abcdefghijklmnopqrstuvwx"}"#).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let large = post(&mesh, &[], &format!("\"{}\"", "x".repeat(255))).await;
    assert_eq!(large.status, 413, "{large:?}");
    let rebound = post(&mesh, &[("origin", "https://evil.example")], "{}").await;
    assert_eq!(rebound.status, 403, "{rebound:?}");
}
