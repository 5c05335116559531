//! What is refused, and how each binding and version is told.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use exchange::CallError;
use http::StatusCode;
use mesh::{Denial, Reason};
use serde_json::{Value, json};
use support::{Answer, World, agent, message, raw, rest, rpc};

#[track_caller]
fn denied(answer: &Answer, reason: Reason) {
    let said = answer.headers["x-strait-denied"].to_str().unwrap();
    assert!(said.ends_with(&format!("reason={reason}")), "{said}");
}

#[tokio::test]
async fn a_method_that_was_not_granted_is_not_there() {
    let world = agent();
    world.grants.set(&["SendMessage"]);
    assert_eq!(world.ask(rpc("SendMessage", message(json!({})))).await.status, StatusCode::OK);
    assert_eq!(world.ask(rpc("message/send", message(json!({})))).await.status, StatusCode::OK);
    let answer = world.ask(rpc("CancelTask", json!({"id": "x"}))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::OK, -32601));
    assert_eq!(answer.json()["error"]["data"][0]["metadata"]["id"], "r1");
    denied(&answer, Reason::NoGrant);
    let answer = world.ask(rpc("tasks/cancel", json!({"id": "x"}))).await;
    assert_eq!(answer.json()["error"]["data"]["id"], "r2");
    let answer = world.ask(rest("POST", "/tasks/x:cancel", Value::Null)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.json()["error"]["details"][0]["reason"], "METHOD_NOT_FOUND");
    assert_eq!(world.reached().len(), 2);
}

#[tokio::test]
async fn who_is_granted_nothing_is_told_so_and_no_more() {
    let world = agent();
    world.grants.set(&[]);
    let requests = [
        rpc("SendMessage", message(json!({}))),
        rpc("Frobnicate", json!({})),
        raw("nonsense"),
        rest("GET", "/.well-known/agent-card.json", Value::Null),
        rest("GET", "/tasks", Value::Null),
        rest("GET", "/nowhere", Value::Null),
    ];
    for request in requests {
        let answer = world.ask(request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        denied(&answer, Reason::NoGrant);
    }
    assert_eq!(world.reached().len(), 0);
}

#[tokio::test]
async fn skills_bind_calls_where_the_agent_declares_where_it_says_them() {
    let mut world = agent();
    world.grants.set(&["SendMessage", "search", "GetTask"]);
    let asking = |skill: Value| {
        let mut params = message(json!({}));
        params["metadata"] = json!({"skill": skill});
        rpc("SendMessage", params)
    };
    assert_eq!(world.ask(asking(json!("other"))).await.code(), 0);
    world.skill_pointer = Some("/metadata/skill".to_owned());
    assert_eq!(world.ask(asking(json!("search"))).await.code(), 0);
    for wrong in [json!("other"), json!(7), Value::Null, json!(["search"])] {
        assert_eq!(world.ask(asking(wrong)).await.code(), -32601);
    }
    assert_eq!(world.ask(rpc("SendMessage", message(json!({})))).await.code(), -32601);
    // What comes of a message is asked for without a skill.
    assert_eq!(world.ask(rpc("GetTask", json!({"id": "none"}))).await.code(), -32001);
}

#[tokio::test]
async fn attack_header_path_query_and_body_that_disagree() {
    let world = agent();
    let with = |version: &str, mut request: exchange::Request| {
        request.headers_mut().append("a2a-version", version.parse().unwrap());
        request
    };
    let rpc_body = json!({"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "x"}});
    let requests = [
        with("0.3", rpc("GetTask", json!({}))),
        with("1.0", rpc("tasks/get", json!({}))),
        with("2.0", rpc("GetTask", json!({}))),
        with("1.0", with("1.0", rpc("GetTask", json!({})))),
        with("0.3", rest("GET", "/tasks", Value::Null)),
        rest("POST", "/message:send", rpc_body.clone()),
        rest("POST", "/acme/message:send", json!({"tenant": "evil", "message": {}})),
        rest("GET", "/acme/tasks?tenant=evil", Value::Null),
        rest("POST", "/message:send?tenant=a", json!({"tenant": "b", "message": {}})),
        rest("POST", "/tasks/a:cancel", json!({"id": "b"})),
        rest("GET", "/tasks/a?id=b", Value::Null),
        rest("POST", "/tasks/a/pushNotificationConfigs", json!({"taskId": "b", "url": "https://a.example/"})),
        rest(
            "POST",
            "/tasks/a/pushNotificationConfigs",
            json!({"task_id": "b", "url": "https://a.example/"}),
        ),
        rest("GET", "/tasks?contextId=a&contextId=b", Value::Null),
        rest("GET", "/tasks?contextId=a&context_id=b", Value::Null),
        rest("GET", "/tasks?ContextId=a", Value::Null),
        rpc("SendMessage", json!({"message": {"taskId": "a", "task_id": "b"}})),
        rpc("SendMessage", json!({"message": {"taskID": "a"}})),
        rpc("SendMessage", json!({"Message": {"taskId": "a"}})),
        rpc("GetTask", json!({"ID": "a"})),
        raw(r#"{"jsonrpc":"2.0","id":1,"method":"SendMessage","method":"CancelTask","params":{}}"#),
        raw(r#"{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":"a","id":"b"}}"#),
        raw(format!("[{rpc_body}]")),
        raw(format!("{rpc_body}{rpc_body}")),
        raw("[".repeat(100_000)),
        raw(""),
    ];
    for request in requests {
        let uri = request.uri().clone();
        let answer = world.ask(request).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{uri} {}", answer.body);
        denied(&answer, Reason::Malformed);
    }
    for path in ["/tasks/a%3Acancel/", "/Tasks", "/tasks/a:CANCEL", "/message%3Asend/", "/x:y"] {
        let mut request = raw(rpc_body.to_string());
        *request.uri_mut() = path.parse().unwrap();
        assert_eq!(world.ask(request).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(world.reached().len(), 0);
}

#[tokio::test]
async fn methods_that_are_unknown_are_refused_and_those_of_extensions_are_judged_by_their_name() {
    let world = agent();
    for unknown in ["Frobnicate", "sendMessage", "GetAgentCard", "Tasks/Get"] {
        let answer = world.ask(rpc(unknown, json!({}))).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::OK, -32601), "{unknown}");
    }
    assert_eq!(world.ask(rpc("tasks/archive", json!({}))).await.code(), 0);
    world.grants.set(&["SendMessage"]);
    assert_eq!(world.ask(rpc("tasks/archive", json!({}))).await.code(), -32601);
    world.grants.set(&["tasks/archive"]);
    assert_eq!(world.ask(rpc("tasks/archive", json!({}))).await.code(), 0);
    assert_eq!(world.reached().len(), 2);
}

#[tokio::test]
async fn tenants_are_judged() {
    let world = agent();
    world.grants.set(&["SendMessage", "acme"]);
    let params = |tenant: &str| {
        let mut params = message(json!({}));
        params["tenant"] = json!(tenant);
        params
    };
    for (tenant, granted) in [("acme", true), ("evil", false)] {
        let code = world.ask(rpc("SendMessage", params(tenant))).await.code();
        assert_eq!(code == 0, granted, "{tenant}");
        for request in [
            rest("POST", &format!("/a2a/{tenant}/message:send"), message(json!({}))),
            rest("POST", &format!("/{tenant}/message:send"), params(tenant)),
            rest("POST", "/message:send", params(tenant)),
        ] {
            assert_eq!(world.ask(request).await.status == StatusCode::OK, granted, "{tenant}");
        }
    }
}

#[tokio::test]
async fn attack_push_webhook_ssrf() {
    let world = agent();
    let answer = world.ask(rpc("SendMessage", message(json!({})))).await.json();
    let task = answer["result"]["task"]["id"].as_str().unwrap().to_owned();
    let reached = world.reached().len();
    let requests = |url: &str| {
        let with = |key: &str, value: Value| {
            let mut params = message(json!({}));
            params["configuration"] = json!({ key: value });
            params
        };
        [
            rpc("CreateTaskPushNotificationConfig", json!({"taskId": task, "url": url})),
            rpc("SendMessage", with("taskPushNotificationConfig", json!({"url": url}))),
            rpc("SendStreamingMessage", with("task_push_notification_config", json!({"url": url}))),
            rpc(
                "tasks/pushNotificationConfig/set",
                json!({"taskId": task, "pushNotificationConfig": {"url": url}}),
            ),
            rpc("message/send", with("pushNotificationConfig", json!({"url": url}))),
            rest("POST", &format!("/tasks/{task}/pushNotificationConfigs"), json!({"url": url})),
            rest("POST", "/message:send", with("taskPushNotificationConfig", json!({"url": url}))),
            rest("POST", "/v1/message:send", with("pushNotification", json!({"url": url}))),
            rest(
                "POST",
                &format!("/v1/tasks/{task}/pushNotificationConfigs"),
                json!({"config": {"pushNotificationConfig": {"url": url}}}),
            ),
        ]
    };
    for bad in
        ["https://169.254.169.254/latest", "http://hooks.example.com/", "https://researcher.shop.mesh/"]
    {
        for request in requests(bad) {
            let answer = world.ask(request).await;
            denied(&answer, Reason::PrivateAddress);
            assert!(
                answer.body.contains("-32602") || answer.status == StatusCode::BAD_REQUEST,
                "{}",
                answer.body
            );
        }
    }
    assert_eq!(world.reached().len(), reached);
    for request in requests("https://hooks.example.com/a2a") {
        assert_eq!(world.ask(request).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn bodies_are_bounded_on_both_sides() {
    let world = agent();
    let limit = a2a::Config::default().body_bytes_max;
    let body = |length: usize| {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message(json!({}))})
            .to_string();
        text + &" ".repeat(length)
    };
    let room = limit - body(0).len();
    assert_eq!(world.ask(raw(body(room))).await.status, StatusCode::OK);
    assert_eq!(world.ask(raw(body(room + 1))).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn failures_and_odd_answers_are_said_in_the_protocol() {
    let nobody = |_: &http::request::Parts, _: &bytes::Bytes| {
        Err(CallError::Unavailable(Denial::plain(Reason::NoEndpoint, "none")))
    };
    let answer = World::new(nobody).ask(rpc("GetExtendedAgentCard", json!({}))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, -32603));
    denied(&answer, Reason::NoEndpoint);
    for (kind, body) in [
        ("text/html", "<html>"),
        ("application/json", "not json"),
        ("application/json", "[]"),
        ("application/json", r#"{"jsonrpc":"2.0","id":1,"result":{"taskId":7}}"#),
        ("application/json", r#"{"result":{"id":"a","id":"b"}}"#),
    ] {
        let answer = World::answering(kind, body).ask(rpc("SendMessage", message(json!({})))).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_GATEWAY, -32006), "{body}");
    }
    // An agent's own word for a failure is passed on.
    let own = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32004,"message":"no"}}"#;
    let answer = World::answering("application/json", own).ask(rpc("SendMessage", message(json!({})))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::OK, -32004));
}

#[tokio::test]
async fn an_agent_that_sends_elsewhere_is_not_followed_nor_passed_on() {
    let world = World::new(|_, _| {
        let response = http::Response::builder().status(307).header("location", "https://evil.example/");
        Ok(response.body(exchange::Body::empty()).unwrap())
    });
    for request in
        [rpc("SendMessage", message(json!({}))), rest("GET", "/.well-known/agent-card.json", Value::Null)]
    {
        let answer = world.ask(request).await;
        assert_eq!((answer.status, answer.headers.get("location")), (StatusCode::BAD_GATEWAY, None));
    }
}
