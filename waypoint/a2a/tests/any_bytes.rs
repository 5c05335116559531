//! Any bytes are read or refused, by a caller and by an agent, and nothing more than that.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use a2a::{card, path, push};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{World, raw, response, rest};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z/:.]{0,12}".prop_map(Value::from),
        Just(json!("http://localhost:1/x")),
    ];
    let keys = prop::sample::select(vec![
        "id",
        "taskId",
        "task_id",
        "contextId",
        "message",
        "task",
        "tasks",
        "status",
        "history",
        "url",
        "skills",
        "supportedInterfaces",
        "additionalInterfaces",
        "configuration",
        "referenceTaskIds",
        "kind",
        "name",
        "result",
        "pushNotificationConfig",
        "tenant",
        "signatures",
        "securitySchemes",
        "tokenUrl",
    ]);
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone(), inner, 0..5)
                .prop_map(|fields| fields
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>())
                .prop_map(Value::from),
        ]
    })
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "SendMessage",
        "SendStreamingMessage",
        "GetTask",
        "ListTasks",
        "tasks/get",
        "message/send",
        "x/y",
        "tasks/pushNotificationConfig/get",
        "CreateTaskPushNotificationConfig",
        "GetExtendedAgentCard",
        "nothing",
    ])
}

fn run(request: exchange::Request, agent: Value, stream: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let world = World::new(move |_, _| {
            Ok(if stream {
                response("text/event-stream", format!("data: {agent}\n\n"))
            } else {
                response("application/json", agent.to_string())
            })
        });
        let answer = world.ask(request).await;
        assert!(answer.status.as_u16() < 600);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_body_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        run(raw(bytes), json!({}), false);
    }

    #[test]
    fn any_message_and_any_answer_are_read_or_refused(
        method in method(), params in value(), id in value(), answer in value(), stream in any::<bool>(),
    ) {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        run(raw(message.to_string()), json!({"jsonrpc": "2.0", "id": 1, "result": answer}), stream);
    }

    #[test]
    fn any_path_is_read_or_refused(
        path in "(/(tasks|message:send|message:stream|v1|card|[a-z:%./]{0,6}|\\.well-known|agent-card\\.json|pushNotificationConfigs)){0,5}",
        verb in prop::sample::select(vec!["GET", "POST", "DELETE", "HEAD", "PUT"]),
        body in value(),
        answer in value(),
    ) {
        let verb: http::Method = verb.parse().unwrap();
        if let Ok(path::Path::Resource(resource)) = path::read(&verb, &path) {
            // What is sent on is read again as the same.
            let again = path::read(&verb, &resource.with_task(resource.task.as_deref()));
            prop_assert_eq!(again, Ok(path::Path::Resource(resource)));
        }
        if path.starts_with('/') && path.parse::<http::Uri>().is_ok() {
            run(rest(verb.as_str(), &path, body), answer, false);
        }
    }

    #[test]
    fn any_card_leads_through_the_mesh_or_is_none(card in value(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let names = card::Names {
            scheme: "http",
            authority: "a.mesh".into(),
            hosts: ["a.mesh".to_owned()].into(),
        };
        if let Ok(card) = card::rewrite(card.to_string().as_bytes(), &names, |_| true) {
            let lists = ["supportedInterfaces", "additionalInterfaces"];
            let listed = lists.iter().filter_map(|list| card.get(*list)?.as_array()).flatten();
            let urls = listed.map(|it| &it["url"]).chain(card.get("url").filter(|url| !url.is_null()));
            for url in urls {
                prop_assert!(url == "" || url.as_str().unwrap().starts_with("http://a.mesh/"), "{}", url);
            }
        }
        let _ = card::rewrite(&Bytes::from(bytes), &names, |_| true);
    }

    #[test]
    fn any_url_is_judged(url in "(https?://)?[a-z0-9.:@%/\\[\\]-]{0,24}") {
        let _ = push::check(&url, &["a.mesh"]);
    }
}
