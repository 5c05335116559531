use std::{collections::BTreeMap, sync::Arc, time::Instant};

use exchange::{Ask, Ledger, Used};
use mesh::{
    Caller, Facts, Peer, Reason,
    facts::{Fact, User},
    names::ObjectName,
    resource::{Allowance, Millis, Mode, Quota, QuotaKey, QuotaLimit, TextMatch},
};

use super::Allowances;

fn quota(mode: Mode, per: QuotaKey, most: Allowance, models: Option<Vec<TextMatch>>) -> Vec<Arc<Quota>> {
    let limit = QuotaLimit { name: "minute".into(), per, window: Millis(60_000), most, models };
    let name: ObjectName = "QuotaPolicy/shop/tokens".parse().unwrap();
    vec![Arc::new(Quota { name, mode, broken: None, limits: vec![limit] })]
}

fn facts(account: &str) -> Facts {
    let identity = format!("spiffe://east.example/ns/agents/sa/{account}").parse().unwrap();
    Facts {
        caller: Caller { workload: Peer::Verified(identity), by: None },
        source_address: None,
        port: 80,
        http: Fact::NotApplicable,
        mcp: Fact::NotApplicable,
        a2a: Fact::NotApplicable,
        llm: Fact::NotApplicable,
        user: None,
    }
}

fn tokens(most: u64) -> Allowance {
    Allowance::Tokens { most, margin: 20, default_output: 10 }
}

fn ask(tokens_in: u64, tokens_out: u64) -> Ask {
    Ask { requests: 0, tokens_in, tokens_out, model: Some("small".into()) }
}

fn allowances() -> Allowances {
    Allowances::new(Instant::now)
}

#[test]
fn the_margin_is_added_to_the_prompt_and_rounded_up() {
    let quotas = quota(Mode::Enforce, QuotaKey::Everyone, tokens(100), None);
    // 75 and a fifth are 90, and 10 of output.
    assert!(allowances().reserve(&facts("a"), &quotas, &ask(75, 10)).is_ok());
    let exceeded = allowances().reserve(&facts("a"), &quotas, &ask(76, 9)).err().unwrap();
    assert_eq!((exceeded.most, exceeded.left, exceeded.unit), (100, 100, "tokens"));
    assert_eq!(exceeded.resets_in, None);
    assert_eq!(exceeded.denial.reason, Reason::QuotaExceeded);
    assert_eq!(exceeded.denial.rule.as_deref(), Some("minute"));
}

#[test]
fn a_reservation_that_is_dropped_counts_whole() {
    let allowances = allowances();
    let quotas = quota(Mode::Enforce, QuotaKey::Everyone, tokens(100), None);
    drop(allowances.reserve(&facts("a"), &quotas, &ask(0, 60)).ok());
    allowances.reserve(&facts("a"), &quotas, &ask(0, 40)).ok().unwrap().settle(Used { tokens: 1 });
    assert!(allowances.reserve(&facts("a"), &quotas, &ask(0, 40)).is_err());
    assert!(allowances.reserve(&facts("a"), &quotas, &ask(0, 39)).is_ok());
}

#[test]
fn everybody_has_what_is_theirs() {
    let user = |subject: &str| {
        Some(Arc::new(User {
            issuer: "acme".into(),
            subject: subject.into(),
            audiences: Vec::new(),
            scopes: Default::default(),
            claims: Arc::new(serde_json::Value::Null),
        }))
    };
    let by_user = |account: &str, subject: &str| Facts { user: user(subject), ..facts(account) };
    let unproven = Facts { caller: Caller { workload: Peer::Unknown, by: None }, ..facts("a") };
    let team: BTreeMap<_, _> = [("a", "red"), ("b", "red"), ("c", "blue")]
        .map(|(account, team)| (facts(account).caller.workload.verified().unwrap().clone(), Arc::from(team)))
        .into();
    let label = QuotaKey::Label { label: "team".into(), values: team };
    for (per, one, same, other) in [
        (QuotaKey::Identity, facts("a"), facts("a"), Some(facts("b"))),
        (QuotaKey::Identity, unproven.clone(), unproven.clone(), Some(facts("a"))),
        (QuotaKey::Everyone, facts("a"), facts("b"), None),
        (QuotaKey::User, by_user("a", "ann"), by_user("b", "ann"), Some(by_user("a", "bob"))),
        (QuotaKey::User, facts("a"), facts("b"), Some(by_user("a", "ann"))),
        (label.clone(), facts("a"), facts("b"), Some(facts("c"))),
        (label, facts("d"), facts("e"), Some(facts("a"))),
    ] {
        let allowances = allowances();
        let quotas = quota(Mode::Enforce, per.clone(), tokens(100), None);
        let try_as = |facts: &Facts| allowances.reserve(facts, &quotas, &ask(0, 100)).map(drop).is_ok();
        assert!(try_as(&one), "{per:?}");
        assert!(!try_as(&same), "{per:?}");
        if let Some(other) = other {
            assert!(try_as(&other), "{per:?}");
        }
    }
}

#[test]
fn a_limit_that_names_models_asks_for_the_one_that_is_used() {
    let prefix = Some(vec![TextMatch::Prefix("gpt-".into()), TextMatch::Exact("small".into())]);
    let quotas = quota(Mode::Enforce, QuotaKey::Everyone, tokens(10), prefix.clone());
    let of = |model: Option<&str>| Ask { model: model.map(Arc::from), ..ask(0, 11) };
    assert!(allowances().reserve(&facts("a"), &quotas, &of(Some("small"))).is_err());
    assert!(allowances().reserve(&facts("a"), &quotas, &of(Some("gpt-x"))).is_err());
    assert!(allowances().reserve(&facts("a"), &quotas, &of(Some("large"))).is_ok());
    // Requests are charged once: with the model where the limit names some, without where it does not.
    let with = quota(Mode::Enforce, QuotaKey::Everyone, Allowance::Requests(0), prefix);
    let without = quota(Mode::Enforce, QuotaKey::Everyone, Allowance::Requests(0), None);
    let one =
        |model: Option<&str>| Ask { requests: 1, tokens_in: 5, tokens_out: 5, model: model.map(Arc::from) };
    assert!(allowances().reserve(&facts("a"), &with, &one(Some("small"))).is_err());
    assert!(allowances().reserve(&facts("a"), &with, &one(None)).is_ok());
    assert!(allowances().reserve(&facts("a"), &without, &one(Some("small"))).is_ok());
    assert!(allowances().reserve(&facts("a"), &without, &one(None)).is_err());
}

#[test]
fn a_quota_that_is_broken_refuses_and_one_in_audit_does_not() {
    let broken = |mode| {
        let mut quotas = quota(mode, QuotaKey::Everyone, tokens(100), None);
        quotas[0] = Arc::new(Quota { broken: Some("no".into()), ..Quota::clone(&quotas[0]) });
        allowances().reserve(&facts("a"), &quotas, &ask(0, 1)).is_ok()
    };
    assert!(!broken(Mode::Enforce));
    assert!(broken(Mode::Audit));
    let audit = quota(Mode::Audit, QuotaKey::Everyone, tokens(1), None);
    assert!(allowances().reserve(&facts("a"), &audit, &ask(0, 100)).is_ok());
}

#[test]
fn a_thousand_at_once_take_no_more_than_there_is() {
    let allowances = allowances();
    let quotas = quota(Mode::Enforce, QuotaKey::Identity, tokens(10_000), None);
    let granted: usize = std::thread::scope(|scope| {
        let one = |seed: usize| {
            let (allowances, quotas) = (allowances.clone(), quotas.clone());
            scope.spawn(move || {
                let mut granted = 0;
                for round in 0..125 {
                    if let Ok(held) = allowances.reserve(&facts("a"), &quotas, &ask(0, 100)) {
                        granted += 1;
                        if (seed + round).is_multiple_of(3) {
                            held.settle(Used { tokens: 100 });
                        } else {
                            drop(held);
                        }
                    }
                }
                granted
            })
        };
        let all: Vec<_> = (0..8).map(one).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(granted, 100);
}
