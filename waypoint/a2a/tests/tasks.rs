//! Whose tasks and contexts they are, in both versions and bindings.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use http::StatusCode;
use mesh::Reason;
use serde_json::{Value, json};
use support::{World, agent, intern, message, planner, rest, rpc, user};

const TASK_NOT_FOUND: i64 = -32001;

/// The task and context of an answer, as the caller is told.
fn told(answer: &Value) -> (String, String) {
    let task = answer.get("task").unwrap_or(answer);
    (task["id"].as_str().unwrap().to_owned(), task["contextId"].as_str().unwrap().to_owned())
}

async fn begun(world: &World) -> (String, String) {
    let answer = world.ask(rpc("SendMessage", message(json!({})))).await;
    told(&answer.json()["result"])
}

#[tokio::test]
async fn a_caller_holds_tokens_and_the_agent_its_own_ids() {
    let world = agent();
    let (task, context) = begun(&world).await;
    assert!(task != "task-1" && !task.contains("task-1"));
    // The agent was told a context, since the caller named none.
    let fresh = world.last().json()["params"]["message"]["contextId"].as_str().unwrap().to_owned();
    assert!(fresh.len() == 36 && fresh != context);
    for (method, params) in [
        ("GetTask", json!({"id": task})),
        ("CancelTask", json!({"id": task})),
        ("tasks/get", json!({"id": task, "historyLength": 2})),
        ("tasks/cancel", json!({"id": task})),
    ] {
        let answer = world.ask(rpc(method, params)).await.json();
        assert_eq!(world.last().json()["params"]["id"], "task-1", "{method}");
        assert_eq!(world.last().pin, Some("west/MeshWorkload/shop/researcher-1".into()));
        assert_eq!(told(&answer["result"]), (task.clone(), context.clone()), "{method}");
        let first = &answer["result"]["history"][0];
        assert_eq!((&first["taskId"], &first["contextId"]), (&json!(task), &json!(context)));
    }
}

#[tokio::test]
async fn both_bindings_know_the_same_task() {
    let world = agent();
    let answer = world.ask(rest("POST", "/message:send", message(json!({})))).await.json();
    let (task, context) = told(&answer);
    for (verb, path, reached) in [
        ("GET", format!("/tasks/{task}?historyLength=1"), "/tasks/task-1?historyLength=1"),
        ("POST", format!("/tasks/{task}:cancel"), "/tasks/task-1:cancel"),
        (
            "GET",
            format!("/acme/tasks/{task}/pushNotificationConfigs"),
            "/acme/tasks/task-1/pushNotificationConfigs",
        ),
        (
            "GET",
            format!("/v1/tasks/{task}/pushNotificationConfigs/c"),
            "/v1/tasks/task-1/pushNotificationConfigs/c",
        ),
        (
            "DELETE",
            format!("/tasks/{task}/pushNotificationConfigs/c"),
            "/tasks/task-1/pushNotificationConfigs/c",
        ),
        ("GET", format!("/tasks?contextId={context}&pageSize=5"), ""),
    ] {
        let answer = world.ask(rest(verb, &path, Value::Null)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {}", answer.body);
        let uri = world.last().parts.uri.to_string();
        assert!(uri == reached || (reached.is_empty() && !uri.contains(&context)), "{uri}");
    }
    let answer = world.ask(rpc("GetTask", json!({"id": task}))).await.json();
    assert_eq!(told(&answer["result"]), (task, context));
}

#[tokio::test]
async fn attack_tasks_of_other_principals_are_not_found() {
    let mut world = agent();
    let (task, context) = begun(&world).await;
    let reached = world.reached().len();
    let config = json!({"taskId": task, "url": "https://hooks.example.com/"});
    let old_config = json!({"taskId": task, "pushNotificationConfig": {"url": "https://hooks.example.com/"}});
    let calls = [
        ("GetTask", json!({"id": task})),
        ("CancelTask", json!({"id": task})),
        ("SubscribeToTask", json!({"id": task})),
        ("ListTasks", json!({"contextId": context})),
        ("ListTasks", json!({"context_id": context})),
        ("CreateTaskPushNotificationConfig", config),
        ("GetTaskPushNotificationConfig", json!({"taskId": task, "id": "c"})),
        ("ListTaskPushNotificationConfigs", json!({"taskId": task})),
        ("ListTaskPushNotificationConfigs", json!({"task_id": task})),
        ("DeleteTaskPushNotificationConfig", json!({"taskId": task, "id": "c"})),
        ("SendMessage", message(json!({"taskId": task}))),
        ("SendMessage", message(json!({"contextId": context}))),
        ("SendMessage", message(json!({"referenceTaskIds": [task]}))),
        ("SendStreamingMessage", message(json!({"task_id": task}))),
        ("tasks/get", json!({"id": task})),
        ("tasks/cancel", json!({"id": task})),
        ("tasks/resubscribe", json!({"id": task})),
        ("tasks/pushNotificationConfig/set", old_config),
        ("tasks/pushNotificationConfig/get", json!({"id": task, "pushNotificationConfigId": "c"})),
        ("tasks/pushNotificationConfig/list", json!({"id": task})),
        ("tasks/pushNotificationConfig/delete", json!({"id": task, "pushNotificationConfigId": "c"})),
        ("message/send", message(json!({"taskId": task}))),
        ("message/stream", message(json!({"contextId": context}))),
        ("tasks/archive", json!({"id": task})),
        ("tasks/archive", json!({"taskId": task})),
    ];
    let paths = [
        ("GET", format!("/tasks/{task}")),
        ("POST", format!("/tasks/{task}:cancel")),
        ("GET", format!("/tasks/{task}:subscribe")),
        ("GET", format!("/tasks?contextId={context}")),
        ("GET", format!("/tasks?context_id={context}")),
        ("GET", format!("/tasks/{task}/pushNotificationConfigs")),
        ("GET", format!("/v1/tasks/{task}")),
    ];
    let strangers = [(intern(), None), (planner(), user("alice")), (mesh::Peer::Unknown, None)];
    for (caller, person) in strangers {
        (world.caller, world.user) = (caller, person);
        for (method, params) in &calls {
            let answer = world.ask(rpc(method, params.clone())).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::OK, TASK_NOT_FOUND), "{method} {params}");
            assert!(answer.headers["x-strait-denied"].to_str().unwrap().ends_with("reason=NotYours"));
            assert_eq!(world.reason(), Some(Reason::NotYours));
        }
        for (verb, path) in &paths {
            let answer = world.ask(rest(verb, path, Value::Null)).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.json()["error"]["details"][0]["reason"], "TASK_NOT_FOUND");
        }
    }
    assert_eq!(world.reached().len(), reached);
}

#[tokio::test]
async fn attack_ids_of_the_agent_itself_are_not_taken() {
    let world = agent();
    begun(&world).await;
    let reached = world.reached().len();
    for (method, params) in [
        ("GetTask", json!({"id": "task-1"})),
        // A field that the version does not name its task by does not stand in for the one that it does.
        ("tasks/pushNotificationConfig/get", json!({"id": "task-1", "taskId": begun(&agent()).await.0})),
        ("SendMessage", message(json!({"taskId": "task-1"}))),
        ("ListTasks", json!({"pageToken": "task-9"})),
    ] {
        assert_eq!(world.ask(rpc(method, params)).await.code(), TASK_NOT_FOUND, "{method}");
    }
    assert_eq!(world.ask(rest("GET", "/tasks/task-1", Value::Null)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.reached().len(), reached);
}

#[tokio::test]
async fn a_list_has_the_callers_own() {
    let mut world = agent();
    let (task, context) = begun(&world).await;
    let list = world.ask(rpc("ListTasks", json!({}))).await.json()["result"].clone();
    assert_eq!((list["tasks"].as_array().unwrap().len(), &list["totalSize"]), (1, &json!(1)));
    assert_eq!(told(&list["tasks"][0]), (task, context.clone()));
    let page = list["nextPageToken"].as_str().unwrap().to_owned();
    assert_ne!(page, "task-9");
    for request in [
        rpc("ListTasks", json!({"pageToken": page, "contextId": context})),
        rest("GET", &format!("/tasks?pageToken={page}&contextId={context}"), Value::Null),
    ] {
        assert_eq!(world.ask(request).await.status, StatusCode::OK);
    }
    assert!(world.last().parts.uri.query().unwrap().starts_with("pageToken=task-9&contextId="));
    world.caller = intern();
    let list = world.ask(rpc("ListTasks", json!({}))).await.json()["result"].clone();
    assert_eq!((&list["tasks"], &list["totalSize"]), (&json!([]), &json!(0)));
    assert_eq!(world.ask(rpc("ListTasks", json!({"pageToken": page}))).await.code(), TASK_NOT_FOUND);
}

#[tokio::test]
async fn a_context_that_a_caller_chose_is_its_own() {
    let mut world = agent();
    let answer = world.ask(rpc("message/send", message(json!({"contextId": "shared"})))).await.json();
    assert_eq!(told(&answer["result"]).1, "shared");
    let first = world.last().json()["params"]["message"]["contextId"].clone();
    assert_ne!(first, "shared");
    // The same again, on whichever replica, also in a list.
    let list = world.ask(rpc("ListTasks", json!({}))).await.json()["result"].clone();
    assert_eq!(told(&list["tasks"][0]).1, "shared");
    let replica = agent();
    replica.ask(rpc("message/send", message(json!({"contextId": "shared"})))).await;
    assert_eq!(replica.last().json()["params"]["message"]["contextId"], first);
    // Somebody else's of the same name is another one.
    world.caller = intern();
    world.ask(rpc("message/send", message(json!({"contextId": "shared"})))).await;
    assert_ne!(world.last().json()["params"]["message"]["contextId"], first);
    // And what the agent calls it is no way in.
    world.ask(rpc("message/send", message(json!({"contextId": first})))).await;
    assert_ne!(world.last().json()["params"]["message"]["contextId"], first);
}

#[tokio::test]
async fn a_conversation_stays_where_it_began() {
    let world = agent();
    let (task, context) = begun(&world).await;
    let home = Some("west/MeshWorkload/shop/researcher-1".into());
    *world.agent.endpoint.lock().unwrap() = "west/MeshWorkload/shop/researcher-2".into();
    for fields in [
        json!({"contextId": context}),
        json!({"taskId": task}),
        json!({"taskId": task, "contextId": context}),
    ] {
        let answer = world.ask(rpc("SendMessage", message(fields))).await.json();
        assert_eq!(world.last().pin, home);
        assert_eq!(told(&answer["result"]), (task.clone(), context.clone()));
    }
    world.ask(rpc("SendMessage", message(json!({"contextId": "mine"})))).await;
    assert_eq!(world.last().pin, None);
    *world.agent.endpoint.lock().unwrap() = "west/MeshWorkload/shop/researcher-3".into();
    world.ask(rpc("SendMessage", message(json!({"contextId": "mine"})))).await;
    assert_eq!(world.last().pin, Some("west/MeshWorkload/shop/researcher-2".into()));
    // Where it lived is gone: another one may know it too.
    *world.agent.gone.lock().unwrap() = home;
    let answer = world.ask(rpc("GetTask", json!({"id": task}))).await;
    assert_eq!((answer.status, world.last().pin), (StatusCode::OK, None));
}

#[tokio::test]
async fn where_a_conversation_began_is_known_before_it_is_led() {
    let world = agent();
    let (task, context) = begun(&world).await;
    let at = async |request| {
        let exchange = world.exchange(request).await;
        world.responder.begun_at(&exchange.request, &exchange.facts)
    };
    let home = Some(world.backend.target());
    assert_eq!(at(rpc("SendMessage", message(json!({})))).await, None);
    assert_eq!(at(rpc("SendMessage", message(json!({"contextId": context})))).await, home);
    assert_eq!(at(rpc("tasks/get", json!({"id": task}))).await, home);
    assert_eq!(at(rest("GET", &format!("/tasks/{task}"), Value::Null)).await, home);
    assert_eq!(at(rpc("SendMessage", message(json!({"contextId": "mine"})))).await, None);
    world.ask(rpc("SendMessage", message(json!({"contextId": "mine"})))).await;
    assert_eq!(at(rpc("SendMessage", message(json!({"contextId": "mine"})))).await, home);
}

#[tokio::test]
async fn a_task_of_another_backend_is_not_found() {
    let mut world = agent();
    let (task, _) = begun(&world).await;
    world.backend = support::service("writer.shop.svc.cluster.local");
    assert_eq!(world.ask(rpc("GetTask", json!({"id": task}))).await.code(), TASK_NOT_FOUND);
}
