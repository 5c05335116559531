//! What reaches the server: the caller's credentials at a Service, never at an AgentBackend.

#![allow(clippy::unwrap_used, clippy::result_large_err, reason = "a test")]

mod support;

use std::sync::Arc;

use exchange::{Backend, Request};
use http::StatusCode;
use mesh::{
    names::{ObjectName, ServiceKey},
    resource::{self, BackendKind, BackendTarget, McpServer, Traffic},
};
use serde_json::json;
use support::{World, call};

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn credentials(mut request: Request) -> Request {
    *request.uri_mut() = "http://toolbox.shop.mesh/anything?x=1".parse().unwrap();
    for (name, value) in [
        ("authorization", "Bearer secret"),
        ("cookie", "session=secret"),
        ("accept-encoding", "gzip"),
        ("x-own", "kept"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    request
}

fn agent(servers: usize, broken: Option<&str>) -> Backend {
    let server = |number: usize| McpServer {
        name: format!("docs-{number}").into(),
        target: BackendTarget::Service {
            service: ServiceKey { namespace: "shop".into(), hostname: "docs.shop.svc.cluster.local".into() },
            port: 80,
        },
        path: "/mcp".into(),
        auth: None,
    };
    Backend::Agent(Arc::new(resource::Backend {
        name: ObjectName::new("AgentBackend", "shop", "toolbox"),
        hostnames: vec!["toolbox.shop.mesh".into()],
        kind: BackendKind::Mcp { servers: (0..servers).map(server).collect() },
        set: "AgentBackend/shop/toolbox".into(),
        traffic: Traffic::default(),
        catalogue: None,
        broken: broken.map(Arc::from),
    }))
}

async fn reached(backend: Option<Backend>) -> http::request::Parts {
    let mut world = World::answering("application/json", RESULT);
    world.backend = backend.unwrap_or(world.backend);
    let answer = world.ask(credentials(call("search", json!({})))).await;
    assert_eq!(answer.status, StatusCode::OK);
    world.server.reached.lock().unwrap().remove(0).0
}

#[tokio::test]
async fn a_service_is_what_the_caller_addressed() {
    let parts = reached(None).await;
    assert_eq!(parts.headers["authorization"], "Bearer secret");
    assert_eq!(parts.headers["cookie"], "session=secret");
    assert_eq!(parts.uri, "http://toolbox.shop.mesh/anything?x=1");
    assert!(!parts.headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn the_server_of_an_agent_backend_sees_no_credentials() {
    let parts = reached(Some(agent(1, None))).await;
    assert!(!parts.headers.contains_key("authorization") && !parts.headers.contains_key("cookie"));
    assert_eq!(parts.headers["x-own"], "kept");
    assert_eq!(parts.uri, "http://toolbox.shop.mesh/mcp?x=1");
}

#[tokio::test]
async fn a_backend_that_cannot_be_served_says_so() {
    for backend in [agent(0, None), agent(65, None), agent(1, Some("the service is missing"))] {
        let mut world = World::answering("application/json", RESULT);
        world.backend = backend;
        let answer = world.ask(call("search", json!({}))).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &json!(-32603))
        );
        assert_eq!(world.reached(), 0);
    }
}
