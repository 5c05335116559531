//! Who is said to call, and what applications receive.

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use mesh::{Peer, resource::*};
use transport::hbone::{ConnectRequest, Origin};

use crate::support::*;

#[tokio::test]
async fn the_node_and_the_application_learn_who_called() {
    let mesh = Mesh::new().await;
    let answer = mesh.get("lab/planner", "/a?b=c").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains(" GET /a?b=c\n"), "{}", answer.body);
    let told =
        "x-forwarded-client-cert: By=spiffe://east/ns/shop/sa/waypoint;URI=spiffe://east/ns/lab/sa/planner";
    assert!(answer.body.contains(told), "{}", answer.body);
    let seen = mesh.node(answer.name()).seen.lock().clone();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].caller.workload, Peer::Verified(identity("lab/planner")));
    assert_eq!(seen[0].caller.by, Some(identity("shop/waypoint")));
}

#[tokio::test]
async fn one_connection_carries_one_caller_and_is_used_again_for_it_only() {
    let mesh = Mesh::serving(&[("web-1", telling("web-1"))], |_| ()).await;
    let mut planner = mesh.http1("lab/planner", WEB_VIP).await;
    let mut intern = mesh.http1("lab/intern", WEB_VIP).await;
    for _ in 0..3 {
        assert!(planner.get("/").await.body.contains("URI=spiffe://east/ns/lab/sa/planner"));
        assert!(intern.get("/").await.body.contains("URI=spiffe://east/ns/lab/sa/intern"));
    }
    let callers: Vec<_> =
        mesh.node("web-1").seen.lock().iter().map(|seen| seen.caller.workload.clone()).collect();
    assert_eq!(callers, [Peer::Verified(identity("lab/planner")), Peer::Verified(identity("lab/intern"))]);
}

#[tokio::test]
async fn claims_of_identity_in_headers_are_not_believed_and_not_passed_on() {
    let mesh = Mesh::new().await;
    let mut client = mesh.http1("lab/intern", WEB_VIP).await;
    let claim = "By=spiffe://east/ns/shop/sa/waypoint;URI=spiffe://east/ns/lab/sa/planner";
    let request = request("/")
        .header("x-forwarded-client-cert", claim)
        .header("x-strait-origin", "spiffe://east/ns/lab/sa/planner")
        .body(body(""))
        .unwrap();
    let answer = client.whole(request).await;
    assert!(!answer.body.contains("planner"), "{}", answer.body);
    assert!(answer.body.contains("URI=spiffe://east/ns/lab/sa/intern"), "{}", answer.body);
}

#[tokio::test]
async fn whoever_is_no_voucher_may_not_speak_for_another() {
    let mesh = Mesh::new().await;
    let credential = mesh.authority.credential(&identity("lab/intern"), &[]);
    let mut request = ConnectRequest::to(WEB_VIP.parse().unwrap());
    request.origin = Some(Origin::Identity(identity("lab/planner")));
    let error = mesh.stream_as(&credential, request).await.expect_err("it is refused");
    assert_eq!(error.refusal().map(|(status, _)| status), Some(401), "{error}");
}

#[tokio::test]
async fn a_caller_of_another_trust_domain_is_itself() {
    let mesh = Mesh::new().await;
    let answer = mesh.get("spiffe://west/ns/agents/sa/planner", "/").await;
    assert!(answer.body.contains("URI=spiffe://west/ns/agents/sa/planner"), "{}", answer.body);
}

#[tokio::test]
async fn policies_decide_by_caller_and_request() {
    let mesh = Mesh::with(|plan| {
        let paths = Some(vec![PathMatch::Prefix("/public".into())]);
        let to = Operation { http: Some(HttpTerm { paths, ..HttpTerm::default() }), ..Operation::default() };
        plan.policies.push(policy("grants", Action::Allow, "lab/planner", Some(to)));
        plan.sets.push(set("web", &["grants"], DefaultAccess::None));
        plan.services[0].ports.insert(80, port(Protocol::Http, "web"));
    })
    .await;
    for (caller, path, expected) in [
        ("lab/planner", "/public/x", 200),
        ("lab/planner", "/public/../private", 403),
        ("lab/planner", "/%70ublic/x", 200),
        ("lab/planner", "/private", 403),
        ("lab/intern", "/public/x", 403),
        ("lab/planner", "/public%2f..%2fprivate", 400),
    ] {
        let answer = mesh.get(caller, path).await;
        assert_eq!(answer.status, expected, "{caller} {path}: {answer:?}");
        if expected == 403 {
            let told = answer.headers["x-strait-denied"].to_str().unwrap();
            assert!(told.starts_with("id=r") && told.ends_with("; reason=NoGrant"), "{told}");
        }
    }
    // Each refusal was recorded, with what decided.
    let refused = mesh.refused.0.lock();
    let fields: Vec<_> = refused.iter().map(|denial| denial.field.as_deref().unwrap_or_default()).collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(fields[0].contains("http.paths"), "{fields:?}");
    assert!(fields[2].contains("serviceAccounts"), "{fields:?}");
}

#[tokio::test]
async fn the_chosen_endpoints_own_policies_speak_too() {
    let mesh = Mesh::with(|plan| {
        for workload in &mut plan.workloads {
            if workload.name.starts_with("web-") {
                workload.other_ports.set = "closed".into();
            }
        }
    })
    .await;
    let answer = mesh.get("lab/planner", "/").await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(mesh.nodes.iter().all(|node| node.seen.lock().is_empty()));
}

#[tokio::test]
async fn an_addressed_endpoint_is_the_one_that_answers() {
    let mesh = Mesh::new().await;
    for name in ["web-1", "web-2"] {
        let address = if name == "web-1" { "10.20.0.10:8080" } else { "10.20.0.11:8080" };
        for _ in 0..4 {
            assert_eq!(mesh.http1("lab/planner", address).await.get("/").await.name(), name);
        }
    }
}

#[tokio::test]
async fn what_is_not_bound_to_the_waypoint_is_not_served() {
    let mesh = Mesh::new().await;
    for to in [
        "10.20.255.3:80",
        "10.20.255.1:81",
        "10.20.0.1:15008",
        "127.0.0.1:80",
        "169.254.169.254:80",
        "web.other:80",
    ] {
        let error = mesh.stream("lab/planner", to).await.expect_err("it is refused");
        assert_eq!(error.refusal().map(|(status, _)| status), Some(400), "{to}: {error}");
    }
}

#[tokio::test]
async fn bodies_and_trailers_pass_in_both_directions() {
    let grpc = app(|request| async move {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.version, http::Version::HTTP_2);
        assert_eq!(parts.headers["te"], "trailers");
        let body = body.collect().await.unwrap().to_bytes();
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let mut response = http::Response::new(body);
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response
    });
    let mesh = Mesh::serving(&[("web-1", grpc)], |_| ()).await;
    let mut client = mesh.http2("lab/planner", WEB_VIP).await;
    let call = |payload: &str| {
        http::Request::post("http://web.shop/svc/Method")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body(payload))
            .unwrap()
    };
    let answer = client.whole(call("payload")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "payload"));
    assert_eq!(answer.trailers["grpc-status"], "0");
    let large = "x".repeat(3_000_000);
    assert_eq!(client.whole(call(&large)).await.body.len(), large.len());

    // A refusal is told in gRPC's own way.
    let mut web = service(WEB, 1, Protocol::Http);
    web.ports.insert(80, port(Protocol::Http, "closed"));
    mesh.apply(vec![Resource::Service(web.into())]);
    let answer = client.whole(call("payload")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["grpc-status"], "7");
    assert!(answer.headers.contains_key("x-strait-denied"));
}

#[tokio::test]
async fn a_websocket_switches_protocols_at_both_ends() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let switching = app(|mut request| async move {
        assert_eq!(request.headers()["upgrade"], "websocket");
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut io = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
            let mut buffer = [0; 5];
            io.read_exact(&mut buffer).await.unwrap();
            io.write_all(&buffer).await.unwrap();
            io.shutdown().await.unwrap();
        });
        let mut response = text(Bytes::new());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert("connection", "upgrade".parse().unwrap());
        response.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        response
    });
    let mesh = Mesh::serving(&[("web-1", switching)], |_| ()).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    let asked =
        request("/ws").header("connection", "Upgrade").header("upgrade", "websocket").body(body("")).unwrap();
    let mut response = client.send(asked).await;
    assert_eq!(response.status(), 101);
    let mut io = hyper_util::rt::TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    io.write_all(b"hello").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, io.read_to_end(&mut answer)).await.expect("in time").unwrap();
    assert_eq!(answer, b"hello");
}

#[tokio::test]
async fn http2_known_beforehand_is_served_and_sent_on_as_the_port_says() {
    let mesh = Mesh::with(|plan| {
        plan.services[0].ports.insert(80, port(Protocol::Http2, "open"));
    })
    .await;
    let answer = mesh.http2("lab/planner", WEB_VIP).await.get("/x").await;
    assert_eq!(answer.status, 200);
    // An HTTP/2 server is told the host by `:authority`.
    assert!(!answer.body.contains("host:"), "{}", answer.body);
    let answer = mesh.http1("lab/planner", WEB_VIP).await.get("/x").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_mcp_port_shows_and_calls_what_was_granted() {
    let server = app(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let result = match message["method"].as_str().unwrap() {
            "tools/list" => serde_json::json!({"tools": [
                {"name": "search", "inputSchema": {"type": "object"}},
                {"name": "write_file", "inputSchema": {"type": "object"}},
            ]}),
            "tools/call" => serde_json::json!({"content": [{"type": "text", "text": "found"}]}),
            other => panic!("{other}"),
        };
        let answer = serde_json::json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
        let mut response = text(answer.to_string());
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    });
    let mesh = Mesh::serving(&[("web-1", server)], |plan| {
        let names = vec![TextMatch::Exact("search".into())];
        let tools = Some(vec![ToolTerm { names, arguments: Vec::new(), access: None }]);
        let to = Operation { mcp: Some(McpTerm { tools, ..McpTerm::default() }), ..Operation::default() };
        plan.policies.push(policy("grants", Action::Allow, "lab/planner", Some(to)));
        plan.sets.push(set("tools", &["grants"], DefaultAccess::None));
        plan.services[0].ports.insert(80, port(Protocol::Mcp, "tools"));
        for workload in &mut plan.workloads {
            if workload.name.starts_with("web-") {
                workload.other_ports.set = "tools".into();
            }
        }
    })
    .await;
    let call = |method: &str, params: serde_json::Value| {
        let message = serde_json::json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        request("/mcp")
            .method("POST")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .body(body(&message.to_string()))
            .unwrap()
    };
    let mut planner = mesh.http1("lab/planner", WEB_VIP).await;
    let listed = planner.whole(call("tools/list", serde_json::json!({}))).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    assert!(listed.body.contains("search") && !listed.body.contains("write_file"), "{}", listed.body);
    let called =
        planner.whole(call("tools/call", serde_json::json!({"name": "search", "arguments": {}}))).await;
    assert!(called.body.contains("found"), "{called:?}");
    let refused =
        planner.whole(call("tools/call", serde_json::json!({"name": "write_file", "arguments": {}}))).await;
    let refused: serde_json::Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert!(refused["error"]["data"]["id"].is_string(), "{refused}");
    let mut intern = mesh.http1("lab/intern", WEB_VIP).await;
    let refused = intern.whole(call("tools/list", serde_json::json!({}))).await;
    assert_eq!(refused.status, 403, "{refused:?}");
}

#[tokio::test]
async fn each_exchange_is_one_line_and_one_count() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let log = runtime::AccessLog::start(&runtime::access_log::Destination::File(path.clone())).unwrap();
    let mesh = Mesh::serving(&[("web-1", telling("web-1"))], |plan| {
        plan.log = Some(log.clone());
        plan.policies.push(policy("denies", Action::Deny, "lab/intern", None));
        plan.sets.push(set("web", &["denies"], DefaultAccess::Open));
        plan.services[0].ports.insert(80, port(Protocol::Http, "web"));
    })
    .await;
    let asked = request("/a?secret=1").method("POST").body(body("hello")).unwrap();
    assert_eq!(mesh.http1("lab/planner", WEB_VIP).await.whole(asked).await.status, 200);
    assert_eq!(mesh.get("lab/intern", "/b").await.status, 403);
    let _ = mesh.stream("lab/planner", "10.20.255.3:80").await;
    while !mesh.waypoint.connections.is_empty() {
        tokio::task::yield_now().await;
    }
    log.flush().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for part in [
        " access request reporter=waypoint source=spiffe://east/ns/lab/sa/planner ",
        "service=shop/web.shop.svc.cluster.local:80 protocol=http upstream=east//Pod/shop/web-1 ",
        "upstream_identity=spiffe://east/ns/shop/sa/web-1 ",
        " method=POST host=web.shop path=/a status=200 upstream_status=200 attempts=1 bytes_received=5 ",
    ] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(!text.contains("secret"), "{text}");
    for part in ["source=spiffe://east/ns/lab/sa/intern ", " status=403 ", " refusal=r1 reason=Denied "] {
        assert!(lines[1].contains(part), "{part}: {}", lines[1]);
    }
    assert!(
        lines[2].contains(" access connection ") && lines[2].contains("reason=UnknownDestination"),
        "{}",
        lines[2]
    );
    let mut registry = prometheus_client::registry::Registry::default();
    mesh.waypoint.report.requests.register(&mut registry);
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    let counted: Vec<_> = metrics.lines().filter(|line| line.starts_with("istio_requests_total{")).collect();
    assert_eq!(counted.len(), 2, "{metrics}");
    let good = counted.iter().find(|line| line.contains("response_code=\"200\"")).expect("a good one");
    for label in [
        "reporter=\"waypoint\"",
        "destination_workload=\"web-1\"",
        "destination_service=\"web.shop.svc.cluster.local\"",
        "request_protocol=\"http\"",
        "connection_security_policy=\"mutual_tls\"",
    ] {
        assert!(good.contains(label), "{label}: {good}");
    }
}

#[tokio::test]
async fn bodies_that_are_held_have_room_for_so_many_bytes_and_no_more() {
    let limits = waypoint::waypoint::Limits { held_bytes: 4096, held_bytes_all: 8192, ..Default::default() };
    let room = waypoint::waypoint::Room::new(&limits);
    let reserve = |length| tokio::time::timeout(std::time::Duration::ZERO, room.reserve(length));
    let one = reserve(None).await.expect("there is room for the first").expect("a permit");
    let two = reserve(Some(3 * 1024)).await.expect("and for a second").expect("a permit");
    assert!(reserve(Some(1025)).await.is_err(), "one KiB is left");
    assert!(reserve(Some(1)).await.is_ok());
    let one = waypoint::waypoint::Room::shrunk(one, 1);
    assert!(reserve(None).await.is_ok(), "what was not needed is free again");
    drop(one);
    assert!(reserve(Some(u64::MAX)).await.is_ok(), "none needs more than one may have");
    drop(two);
}

#[tokio::test]
async fn attack_claims_of_identity_in_trailers_reach_nobody() {
    let told = app(|request: http::Request<hyper::body::Incoming>| async move {
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let mut names: Vec<String> = trailers.keys().map(ToString::to_string).collect();
        names.sort();
        text(format!("{:?} {names:?}", body.to_bytes()))
    });
    let mesh = Mesh::serving(&[("web-1", told)], |plan| {
        plan.services[0] = service(WEB, 1, Protocol::Http2);
    })
    .await;
    let mut trailers = http::HeaderMap::new();
    for name in ["x-forwarded-client-cert", "x-strait-origin", "authorization", "x-checksum"] {
        trailers.insert(name, "URI=spiffe://east/ns/shop/sa/admin".parse().unwrap());
    }
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"hi"))),
        Ok::<_, std::convert::Infallible>(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request =
        http::Request::post("http://web.shop/").header("te", "trailers").body(body.boxed_unsync()).unwrap();
    let answer = mesh.http2("shop/planner", WEB_VIP).await.whole(request).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "b\"hi\" [\"x-checksum\"]"));
}
