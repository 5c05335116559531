//! What passes a guard and what does not, by the classes of ways around one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use exchange::{Messages, Passage, TextWatch, sse::Event};
use guards::{Guards, Rules, Screened, Stream, Watch, screen};
use mesh::{Denial, Reason, resource::*};
use serde_json::{Value, json};

fn guard(patterns: &[(Finds, GuardAction)], mode: Mode) -> Guard {
    let pattern = |(finds, action): &(Finds, GuardAction)| GuardPattern {
        name: format!("{finds:?}").split('(').next().unwrap().to_lowercase().into(),
        finds: finds.clone(),
        direction: Direction::Both,
        action: *action,
    };
    Guard {
        name: "GuardPolicy/shop/pii".parse().unwrap(),
        mode,
        broken: None,
        patterns: patterns.iter().map(pattern).collect(),
        sizes: GuardSizes::default(),
        origins: None,
        external: None,
    }
}

fn rules(patterns: &[(Finds, GuardAction)]) -> Rules {
    Guards::default().rules(&[Arc::new(guard(patterns, Mode::Enforce))])
}

fn masking(finds: Finds) -> Rules {
    rules(&[(finds, GuardAction::Mask)])
}

fn refusing(finds: Finds) -> Rules {
    rules(&[(finds, GuardAction::Refuse)])
}

fn look(rules: &Rules, kind: Option<&str>, body: impl Into<Bytes>) -> Screened {
    screen(rules, Direction::Request, kind, &body.into())
}

const JSON: Option<&str> = Some("application/json");

#[test]
fn json_is_masked_in_place_and_stays_json() {
    let rules = masking(Finds::Email);
    for (body, expected) in [
        (r#"{ "a" : "x ada@lab.example y",  "n": 1.50 }"#, Some(r#"{ "a" : "x [email] y",  "n": 1.50 }"#)),
        (r#"{"a":"ada\u0040lab.example"}"#, Some(r#"{"a":"[email]"}"#)),
        (r#"{"\u0061da@lab.example":1}"#, Some(r#"{"[email]":1}"#)),
        // Of two members of one name, another reader may take the other one.
        (r#"{"a":"ada@lab.example","a":"b"}"#, Some(r#"{"a":"[email]","a":"b"}"#)),
        (r#"["q\"ada@lab.example\""]"#, Some(r#"["q\"[email]\""]"#)),
        (
            r#"{"arguments":"{\"to\":\"ada\\u0040lab.example\"}"}"#,
            Some(r#"{"arguments":"{\"to\":\"[email]\"}"}"#),
        ),
        ("{\"a\":\"ada@lab.example\"}\n{\"a\":\"b\"}\n", Some("{\"a\":\"[email]\"}\n{\"a\":\"b\"}\n")),
        (r#"{"a":"nothing here"}"#, None),
    ] {
        for kind in [JSON, Some("text/plain"), None, Some("application/octet-stream")] {
            let screened = look(&rules, kind, body);
            assert!(screened.refused.is_none(), "{body}");
            let changed = screened.body.map(|it| String::from_utf8(it.to_vec()).unwrap());
            assert_eq!(changed.as_deref(), expected, "{body} as {kind:?}");
        }
    }
    let numbers = masking(Finds::CreditCard);
    let changed = look(&numbers, JSON, r#"{"card":4111111111111111,"n":12345678}"#).body.unwrap();
    assert_eq!(changed, r#"{"card":"[creditcard]","n":12345678}"#);
}

/// Anchors 3.2, "prompt-injection guard limits": base64, tool results, forms.
#[test]
fn attack_prompt_injection_guard_limits_ways_around_are_found() {
    let key = "sk-proj-abcdefghijklmnopqrstuvwx";
    let rules = refusing(Finds::Secret);
    let encoded = STANDARD.encode(format!("the key is {key}"));
    let bare = encoded.trim_end_matches('=');
    let nested = json!({"result": {"content": [{"type": "text", "text": json!({"key": key}).to_string()}]}});
    for (kind, body) in [
        (JSON, json!({"a": [{"b": key}]}).to_string()),
        (JSON, nested.to_string()),
        (JSON, json!({"blob": encoded}).to_string()),
        (JSON, json!({"blob": format!("data:text/plain;base64,{bare}")}).to_string()),
        (JSON, json!({ key: 1 }).to_string()),
        (Some("text/plain"), format!("see {bare} there")),
        (Some("text/plain"), format!("say {key}")),
        (Some("application/x-www-form-urlencoded"), format!("a=b&key={}", key.replace('-', "%2D"))),
        (Some("application/octet-stream"), key.to_owned()),
        (Some("image/png"), key.to_owned()),
        (None, key.to_owned()),
        (JSON, format!("\u{feff}{}", json!({"a": key}))),
        (JSON, json!({"a": json!(json!({"b": key}).to_string()).to_string()}).to_string()),
    ] {
        let denial = look(&rules, kind, body.clone()).refused.unwrap_or_else(|| panic!("{body} passes"));
        assert_eq!(denial.reason, Reason::GuardRefused);
        assert_eq!(denial.rule.as_deref(), Some("secret"));
        assert!(!denial.to_string().contains(key), "a refusal does not tell what it found");
    }
}

#[test]
fn what_cannot_be_read_is_refused_where_it_would_be_read() {
    let rules = refusing(Finds::Secret);
    let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (kind, body, refused) in [
        (JSON, &b"{\"a\":1,}"[..], true),
        (JSON, b"{'a':1}", true),
        (JSON, &[0xff, 0xfe], true),
        (JSON, &utf16, true),
        (Some("text/plain"), &[b'a', 0xff], true),
        (Some("image/png"), &[0x89, 0xff], false),
        (None, &[0x89, 0xff], false),
        (JSON, b"", false),
    ] {
        let denial = look(&rules, kind, body.to_vec()).refused;
        assert_eq!(denial.map(|it| it.reason), refused.then_some(Reason::GuardFailed), "{kind:?} {body:?}");
    }
    let deep = format!("{}\"sk-abcdefghijklmnopqrstuvwx\"{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(look(&rules, JSON, deep).refused.unwrap().reason, Reason::GuardRefused);
}

#[test]
fn sizes_are_bounds() {
    let mut guard = guard(&[], Mode::Enforce);
    guard.sizes = GuardSizes { request: Some(4), response: Some(2) };
    let rules = Guards::default().rules(&[Arc::new(guard)]);
    assert!(look(&rules, None, "abcd").refused.is_none());
    let denial = look(&rules, None, "abcde").refused.unwrap();
    assert_eq!((denial.reason, denial.rule.as_deref()), (Reason::TooMuch, Some("sizes")));
    assert!(screen(&rules, Direction::Response, None, &Bytes::from_static(b"abc")).refused.is_some());
}

#[test]
fn a_guard_that_cannot_be_realised_refuses_and_one_in_audit_only_reports() {
    let broken = Guard { broken: Some("no".into()), ..guard(&[], Mode::Enforce) };
    let regex = guard(&[(Finds::Regex("(".into()), GuardAction::Mask)], Mode::Enforce);
    let huge = guard(&[(Finds::Regex("(a{1000}){1000}".into()), GuardAction::Mask)], Mode::Enforce);
    for guard in [broken, regex, huge] {
        let rules = Guards::default().rules(&[Arc::new(guard)]);
        assert_eq!(look(&rules, None, "x").refused.unwrap().reason, Reason::GuardFailed);
    }
    let audit = guard(&[(Finds::Email, GuardAction::Refuse)], Mode::Audit);
    let rules = Guards::default().rules(&[Arc::new(audit)]);
    let screened = look(&rules, JSON, r#"{"a":"ada@lab.example"}"#);
    assert!(screened.refused.is_none() && screened.body.is_none());
    assert_eq!(screened.shadows.len(), 1);
    // And what it cannot read passes.
    assert!(look(&rules, JSON, "{").refused.is_none());
}

/// What is let go of a text that arrives in pieces.
fn watched(rules: &Rules, pieces: &[&str]) -> Result<String, Denial> {
    let mut watch = Watch::new(rules.clone(), Direction::Response);
    let mut out = String::new();
    for piece in pieces {
        out.push_str(&watch.text("0", piece)?);
    }
    Ok(out + &watch.end("0")?)
}

fn cut(text: &str, size: usize) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

#[test]
fn prompt_injection_guard_limits_split_across_chunks() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----";
    for (finds, what) in [
        (Finds::Email, "ada.b@lab.example"),
        (Finds::CreditCard, "4111 1111 1111 1111"),
        (Finds::UsSsn, "078-05-1120"),
        (Finds::UsSsn, "078 05 1120"),
        (Finds::PhoneNumber, "+49 (0)30 901820"),
        (Finds::Iban, "GB82 WEST 1234 5698 7654 32"),
        (Finds::IpAddress, "2001:db8::1"),
        (Finds::Secret, "sk-proj-abcdefghijklmnopqrstuvwx"),
        (Finds::Secret, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJlMTIz"),
        (Finds::Secret, pem),
        (Finds::Regex("blue (moon|sun)".into()), "blue moon"),
    ] {
        let name = format!("[{}]", format!("{finds:?}").split('(').next().unwrap().to_lowercase());
        let text = format!("It is so: {what}, and then é more of it. {what}");
        let expected = format!("It is so: {name}, and then é more of it. {name}");
        for size in 1..40 {
            let pieces = cut(&text, size);
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            assert_eq!(watched(&masking(finds.clone()), &pieces).unwrap(), expected, "{what} by {size}");
            assert!(watched(&refusing(finds.clone()), &pieces).is_err(), "{what} by {size}");
        }
    }
}

#[test]
fn plain_text_is_not_held_back_for_long() {
    let mut watch = Watch::new(masking(Finds::Secret), Direction::Response);
    assert_eq!(watch.text("0", "This is what it is about").unwrap(), "This is what it is ");
    assert_eq!(watch.text("0", ", so").unwrap(), "about, ");
    assert_eq!(watch.text("1", "another channel ").unwrap(), "another channel ");
    assert_eq!(watch.end("0").unwrap(), "so");
    assert_eq!(watch.end("0").unwrap(), "");
}

#[test]
fn a_find_that_never_ends_is_refused() {
    let mut watch = Watch::new(masking(Finds::Secret), Direction::Response);
    let mut out = String::new();
    let error = loop {
        match watch.text("0", "sk-abcdefghijklmnopqrstuvwxyz0123456789") {
            Ok(text) => out.push_str(&text),
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason, Reason::GuardRefused);
    assert_eq!(out, "");
}

fn stream(rules: Rules, answers: Option<Value>) -> (Stream, Arc<Mutex<Vec<Reason>>>) {
    let refused = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&refused);
    let record = move |denial: &Denial| {
        kept.lock().unwrap().push(denial.reason);
        "r-1".into()
    };
    (Stream::new(rules, answers, Box::new(record), Box::new(|_| ())), refused)
}

fn event(data: impl std::fmt::Display) -> Bytes {
    Event { data: Some(data.to_string()), ..Event::default() }.encode()
}

#[test]
fn messages_of_a_stream_are_masked_or_end_it() {
    let (mut masks, _) = stream(masking(Finds::Email), None);
    assert_eq!(masks.message(&event(r#"{"a":"b"}"#)), Passage::Pass);
    let masked = Passage::Replace(event(r#"{"a":"[email]"}"#));
    assert_eq!(masks.message(&event(r#"{"a":"ada@lab.example"}"#)), masked);
    assert_eq!(masks.message(&event("to ada@lab.example")), Passage::Replace(event("to [email]")));
    // What stands beside the data is not let through as it is.
    let beside = Bytes::from_static(b": ada@lab.example\nx: ada@lab.example\ndata: 1\n\n");
    assert_eq!(masks.message(&beside), Passage::Replace(event("1")));
    let comment = Bytes::from_static(b": ada@lab.example\n\n");
    assert_eq!(masks.message(&comment), Passage::Replace(Bytes::from_static(b":\n\n")));
    let named = Bytes::from_static(b"event: ada@lab.example\ndata: 1\n\n");
    assert!(matches!(masks.message(&named), Passage::End(_)));

    let (mut refuses, recorded) = stream(refusing(Finds::Email), Some(json!(7)));
    let Passage::End(Some(last)) =
        refuses.message(&event(r#"{"jsonrpc":"2.0","method":"x","params":"a@lab.example"}"#))
    else {
        panic!("it goes on")
    };
    let last = Event::parse(&last).unwrap();
    let last: Value = serde_json::from_str(&last.data.unwrap()).unwrap();
    assert_eq!((&last["id"], &last["error"]["data"]["id"]), (&json!(7), &json!("r-1")));
    assert_eq!(*recorded.lock().unwrap(), [Reason::GuardRefused]);
    assert!(matches!(refuses.message(&Bytes::from_static(b"data: \xff\n\n")), Passage::End(_)));
}

#[test]
fn prompt_injection_guard_limits_split_across_messages() {
    let key = "sk-proj-abcdefghijklmnopqrstuvwx";
    let delta =
        |index: usize, text: &str| event(json!({"choices": [{"index": index, "delta": {"content": text}}]}));
    let part = |text: &str| {
        let artifact = json!({"artifactId": "a", "parts": [{"kind": "text", "text": text}]});
        event(json!({"jsonrpc": "2.0", "id": 1, "result": {"artifact": artifact, "append": true}}))
    };
    for action in [GuardAction::Refuse, GuardAction::Mask] {
        let (mut one, _) = stream(rules(&[(Finds::Secret, action)]), None);
        assert_eq!(one.message(&delta(0, &key[..9])), Passage::Pass);
        assert_eq!(one.message(&delta(1, "hello")), Passage::Pass);
        assert_eq!(one.message(&delta(0, &key[9..15])), Passage::Pass);
        assert!(matches!(one.message(&delta(0, &key[15..])), Passage::End(Some(_))), "{action:?}");
        let (mut two, _) = stream(rules(&[(Finds::Secret, action)]), None);
        assert_eq!(two.message(&part(&key[..9])), Passage::Pass);
        assert!(matches!(two.message(&part(&key[9..])), Passage::End(Some(_))), "{action:?}");
    }
}

#[test]
fn looking_costs_by_the_length_of_what_is_looked_at() {
    let all = [
        Finds::Email,
        Finds::CreditCard,
        Finds::UsSsn,
        Finds::PhoneNumber,
        Finds::Iban,
        Finds::IpAddress,
        Finds::Secret,
    ]
    .map(|finds| (finds, GuardAction::Mask));
    let rules = rules(&all);
    // Each is bad for a finder that looks back or ahead without bound.
    for hostile in
        ["@", "a@", "1 ", "1", "+1 ", "DE89 ", "eyJ", ":", "1.", "-----BEGIN PRIVATE KEY-----", "sk-", "A"]
    {
        let time = |length: usize| {
            let body = Bytes::from(hostile.repeat(length / hostile.len()));
            let began = std::time::Instant::now();
            let _ = screen(&rules, Direction::Request, Some("text/plain"), &body);
            began.elapsed()
        };
        time(1 << 10);
        let (small, large) = (time(1 << 14).max(std::time::Duration::from_millis(2)), time(1 << 18));
        // 16 times the length; a quadratic one would take 256 times as long.
        assert!(large < small * 64, "{hostile:?}: {small:?}, then {large:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_and_masks_keep_json_json(text in "(\\PC|[{}\\[\\]\",:@.+-]|ada@lab.example|4111 1111 1111 1111|\\\\u0040){0,40}") {
        let rules = rules(&[(Finds::Email, GuardAction::Mask), (Finds::CreditCard, GuardAction::Mask), (Finds::Secret, GuardAction::Mask), (Finds::IpAddress, GuardAction::Mask), (Finds::Iban, GuardAction::Mask), (Finds::PhoneNumber, GuardAction::Mask)]);
        let json = json!({"a": text}).to_string();
        let screened = look(&rules, JSON, json);
        if let Some(body) = screened.body {
            proptest::prop_assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
        let _ = look(&rules, None, text.clone());
        let pieces = cut(&text, 3);
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let _ = watched(&rules, &pieces);
    }
}
