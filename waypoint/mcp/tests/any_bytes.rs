//! Any bytes are read or refused, never more than that; and what is read is what any other reader reads.

#![allow(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use exchange::json::{self, Keys};
use mcp::{listing, message::Message, object::Objects, revision::Era};
use proptest::prelude::*;
use serde_json::{Value, json};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-zA-Z\\\\\"\u{e4}\u{4e16}\u{1f600}\n]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A message with some of its bytes changed.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let methods = vec![
        "tools/call",
        "tools/list",
        "resources/read",
        "subscriptions/listen",
        "completion/complete",
        "x",
    ];
    let message = (proptest::sample::select(methods), value(), value()).prop_map(|(method, id, params)| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string().into_bytes()
    });
    (message, proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |(mut bytes, changes)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

fn read(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    if let Ok(message) = Message::parse(bytes.clone()) {
        assert_eq!(message.raw, bytes);
        for era in [Era::Sessions, Era::Stateless] {
            let _ = Objects::of(&message, era);
        }
        let other: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(other.get("method").and_then(Value::as_str).unwrap_or_default(), message.method_name());
    }
    // Whatever a server sends is filtered or refused, and a list that all may see stays as it is.
    if let Ok(filtered) = listing::filter(&bytes, |_, _| false) {
        let left: Value = serde_json::from_slice(filtered.as_ref().unwrap_or(&bytes)).unwrap();
        for list in ["tools", "prompts", "resources", "resourceTemplates"] {
            let entries = left.pointer(&format!("/result/{list}"));
            assert!(entries.is_none_or(|entries| entries.as_array().is_some_and(Vec::is_empty)), "{left}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_read_as_others_read_it(value in value()) {
        let text = value.to_string();
        prop_assert_eq!(json::parse(text.as_bytes(), Keys::Equal).unwrap(), value);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        read(bytes);
    }

    #[test]
    fn broken_messages_are_read_or_refused(bytes in broken()) {
        read(bytes);
    }

    #[test]
    fn broken_answers_are_filtered_or_refused(tools in value(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = json!({"id": 1, "result": {"tools": [tools.clone(), {"name": "a"}], "prompts": [tools]}})
            .to_string()
            .into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read(bytes);
    }
}
