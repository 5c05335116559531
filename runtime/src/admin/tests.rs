//! Tests of the pages over a connection in memory.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    drain::{Drain, Phase},
    logging,
};

fn pages() -> Arc<Admin> {
    let readiness = Readiness::new();
    readiness.part("identity", "no certificate");
    let logging = logging::init(&logging::Config::default()).unwrap();
    Arc::new(
        Admin::new()
            .readiness(readiness)
            .metrics(Metrics::new("test", "1"))
            .logging(logging)
            .page("/echo", "says it again", |query| Answer::json(&query.get("say")))
            .page_async("/never", "takes too long", |_| std::future::pending()),
    )
}

/// Sends one request and gives back everything that comes.
async fn ask(request: &str) -> String {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let drain = Drain::new();
    let serving = tokio::spawn(pages().serve(server, drain.watch()));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    serving.await.unwrap();
    answer
}

async fn get(path: &str, host: &str) -> String {
    ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn readiness_names_what_is_pending() {
    let answer = get("/healthz/ready", "probe.example").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nnot ready, pending: identity (no certificate)\n"), "{answer}");
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let answer = get("/metrics", "127.0.0.1:15020").await;
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    assert!(answer.contains("strait_build_info"), "{answer}");
}

#[tokio::test]
async fn a_page_gets_its_query() {
    let answer = get("/echo?say=a%20b", "127.0.0.1").await;
    assert!(answer.ends_with("\r\n\r\n\"a b\""), "{answer}");
    assert!(get("/echo?say=%", "127.0.0.1").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn attack_admin_dns_rebinding_pages_answer_only_under_an_address() {
    for host in ["127.0.0.1", "127.0.0.1:15000", "[::1]:15000", "localhost:15000"] {
        assert!(get("/", host).await.starts_with("HTTP/1.1 200 "), "{host}");
        assert!(get("/echo", host).await.starts_with("HTTP/1.1 200 "), "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
        assert!(get("/echo", host).await.starts_with("HTTP/1.1 421 "), "{host}");
        assert!(get("/", host).await.starts_with("HTTP/1.1 421 "), "{host}");
    }
    let twice = "GET /echo HTTP/1.1\r\nhost: 127.0.0.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert!(ask(twice).await.starts_with("HTTP/1.1 4"));
}

#[tokio::test]
async fn attack_admin_changes_need_a_content_type_that_forms_cannot_send() {
    let post = |kind: &str, query: &str| {
        format!(
            "POST /logging{query} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: 0\r\n\r\n"
        )
    };
    assert!(ask(&post("text/plain", "?level=info")).await.starts_with("HTTP/1.1 415 "));
    assert!(ask(&post("application/json", "")).await.starts_with("HTTP/1.1 400 "));
    assert!(ask(&post("application/json", "?level=a=b=c")).await.starts_with("HTTP/1.1 400 "));
    assert!(ask(&post("application/json; charset=utf-8", "?level=info")).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    assert!(get("/nothing", "127.0.0.1").await.starts_with("HTTP/1.1 404 "));
    assert!(
        ask("PUT /echo HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
}

#[tokio::test]
async fn garbage_and_long_heads_are_refused() {
    assert!(ask("\x16\x03\x01 garbage\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    let long = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: {}\r\n\r\n", "a".repeat(2 * HEAD_BYTES_MAX));
    assert!(ask(&long).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_takes_too_long_is_given_up() {
    assert!(get("/never", "127.0.0.1").await.starts_with("HTTP/1.1 504 "));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let (mut client, server) = tokio::io::duplex(1024);
    let drain = Drain::new();
    let serving = tokio::spawn(pages().serve(server, drain.watch()));
    client.write_all(b"GET / HT").await.unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn closing_ends_connections_and_draining_does_not() {
    let (client, server) = tokio::io::duplex(1024);
    let drain = Drain::new();
    let serving = tokio::spawn(pages().serve(server, drain.watch()));
    drain.advance(Phase::Draining);
    tokio::task::yield_now().await;
    assert!(!serving.is_finished());
    drain.advance(Phase::Closing);
    serving.await.unwrap();
    drop(client);
}

#[tokio::test]
async fn too_many_connections_are_closed() {
    let admin = pages();
    let drain = Drain::new();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let (client, server) = tokio::io::duplex(64);
        open.push((client, tokio::spawn(Arc::clone(&admin).serve(server, drain.watch()))));
    }
    while admin.connections.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let (_client, server) = tokio::io::duplex(64);
    // Ends at once, although its other end is open.
    Arc::clone(&admin).serve(server, drain.watch()).await;
    assert!(open.iter().all(|(_, serving)| !serving.is_finished()));
}

#[tokio::test]
async fn attack_admin_changes_need_the_token_where_there_is_one() {
    let ask = async |token: &str, length: usize| {
        let pages = Admin::new().guarded("secret".into()).action_on("/edit", "edits", |_, body| {
            std::future::ready(Answer::text(format!("{} bytes", body.len())))
        });
        let (mut client, server) = tokio::io::duplex(8 << 20);
        let drain = Drain::new();
        let serving = tokio::spawn(Arc::new(pages).serve(server, drain.watch()));
        let head = format!(
            "POST /edit HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\n\
             authorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&vec![b'x'; length]).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        serving.await.unwrap();
        answer
    };
    assert!(ask("secret", 5).await.ends_with("5 bytes\n"));
    for wrong in ["", "secre", "secret2", "Secret"] {
        assert!(ask(wrong, 5).await.starts_with("HTTP/1.1 401 "), "{wrong}");
    }
    assert!(ask("secret", BODY_BYTES_MAX).await.starts_with("HTTP/1.1 200 "));
    assert!(ask("secret", BODY_BYTES_MAX + 1).await.starts_with("HTTP/1.1 413 "));
}
