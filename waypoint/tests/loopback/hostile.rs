//! Bytes that no good caller sends.

use std::time::Duration;

use transport::Stream;

use crate::support::*;

/// Sends bytes as they are, and returns what comes until the other end finishes or is cut.
async fn raw(mesh: &Mesh, bytes: &[u8]) -> String {
    let mut stream = mesh.stream("lab/planner", WEB_VIP).await.expect("a stream");
    // The other end may close before it has read everything.
    let _ = stream.write_chunks([bytes.to_vec().into()]).await;
    until_end(stream).await
}

async fn until_end(mut stream: Stream) -> String {
    let mut all = Vec::new();
    let read = async {
        while let Ok(Some(chunk)) = stream.read_chunk().await {
            all.extend_from_slice(&chunk);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("it ends");
    String::from_utf8_lossy(&all).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn reached(mesh: &Mesh) -> usize {
    mesh.nodes.iter().map(|node| node.seen.lock().len()).sum()
}

#[tokio::test]
async fn what_two_readers_could_cut_differently_is_refused_and_ends_the_connection() {
    let mesh = Mesh::new().await;
    for (name, head) in [
        ("two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n"),
        ("a list of lengths", "Content-Length: 4, 5\r\n"),
        ("a signed length", "Content-Length: +4\r\n"),
        ("chunked not last", "Transfer-Encoding: chunked, identity\r\n"),
        ("a coding that is none", "Transfer-Encoding: xchunked\r\n"),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n"),
        ("a folded line", "X-A: b\r\n c\r\nContent-Length: 0\r\n"),
        ("a bare CR", "X-A: b\rContent-Length: 4\r\n"),
        ("a NUL", "X-A: b\0\r\n"),
        ("no host", ""),
    ] {
        let host = if name == "no host" { "" } else { "Host: web.shop\r\n" };
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web.shop\r\n\r\n";
        let answer = raw(&mesh, format!("POST / HTTP/1.1\r\n{host}{head}\r\n{smuggled}").as_bytes()).await;
        assert_eq!(status(&answer), "400", "{name}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer}");
    }
    assert_eq!(reached(&mesh), 0);
}

/// RFC 9112, section 6.3: the coding counts, what is sent on names one end only, and the connection ends.
#[tokio::test]
async fn a_length_beside_a_coding_is_not_heeded_and_not_passed_on() {
    let mesh = Mesh::new().await;
    for head in [
        "Content-Length: 44\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 44\r\n",
    ] {
        let next = "GET /next HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n";
        let answer = raw(
            &mesh,
            format!("POST / HTTP/1.1\r\nHost: web.shop\r\n{head}\r\n3\r\nabc\r\n0\r\n\r\n{next}").as_bytes(),
        )
        .await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(answer.contains("\n\nabc"), "{answer}");
        assert!(!answer.contains("content-length: 44"), "{answer}");
    }
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order() {
    let mesh = Mesh::new().await;
    let one = "GET /1 HTTP/1.1\r\nHost: web.shop\r\n\r\n";
    let two = "POST /2 HTTP/1.1\r\nHost: web.shop\r\nContent-Length: 5\r\n\r\nhello";
    let three = "GET /3 HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n";
    let answer = raw(&mesh, format!("{one}{two}{three}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
    let at = |text: &str| answer.find(text).unwrap_or_else(|| panic!("{text} in {answer}"));
    assert!(at(" GET /1\n") < at(" POST /2\n") && at(" POST /2\n") < at(" GET /3\n"));
    assert!(answer.contains("\n\nhello"));
}

#[tokio::test]
async fn heads_are_bounded() {
    let mesh = Mesh::new().await;
    let head = |bytes: usize| {
        format!("GET / HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\nX-A: {}\r\n\r\n", "a".repeat(bytes))
    };
    assert_eq!(status(&raw(&mesh, head(32 * 1024).as_bytes()).await), "200");
    assert_eq!(status(&raw(&mesh, head(100 * 1024).as_bytes()).await), "431");
    let many = |count: usize| {
        let fields: String = (0..count).map(|index| format!("X-{index}: 1\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n{fields}\r\n")
    };
    assert_eq!(status(&raw(&mesh, many(90).as_bytes()).await), "200");
    assert_eq!(status(&raw(&mesh, many(200).as_bytes()).await), "431");
    let target = |bytes: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n", "a".repeat(bytes))
    };
    assert_eq!(status(&raw(&mesh, target(16 * 1024 - 1).as_bytes()).await), "200");
    assert_ne!(status(&raw(&mesh, target(16 * 1024).as_bytes()).await), "200");
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let mesh = Mesh::new().await;
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let answer = raw(&mesh, bytes).await;
        assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
    }
    let answer = raw(&mesh, b"CONNECT web.shop:80 HTTP/1.1\r\nHost: web.shop\r\n\r\n").await;
    assert_eq!(status(&answer), "400", "{answer}");
    assert_eq!(reached(&mesh), 0);
}

#[tokio::test]
async fn whoever_says_nothing_or_half_a_head_is_left_after_a_time() {
    let mesh = Mesh::with(|plan| plan.limits.head_timeout = Duration::from_millis(50)).await;
    for bytes in [&b""[..], b"GET / HT", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: web.shop\r\nX-A"] {
        let answer = raw(&mesh, bytes).await;
        assert!(answer.is_empty() || status(&answer) == "408", "{answer}");
    }
    assert_eq!(reached(&mesh), 0);
}

#[tokio::test]
async fn what_an_application_answers_cannot_open_the_next_answer() {
    let sly = app(|_| async move {
        let mut response = text("body");
        response.headers_mut().insert("connection", "x-secret, close".parse().unwrap());
        response.headers_mut().insert("x-secret", "1".parse().unwrap());
        response.headers_mut().insert("keep-alive", "timeout=1".parse().unwrap());
        response.headers_mut().insert("proxy-authenticate", "Basic".parse().unwrap());
        response
    });
    let mesh = Mesh::serving(&[("web-1", sly)], |_| ()).await;
    let mut client = mesh.http1("lab/planner", WEB_VIP).await;
    for _ in 0..3 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "body"));
        for name in ["x-secret", "keep-alive", "proxy-authenticate"] {
            assert!(!answer.headers.contains_key(name), "{name}");
        }
    }
}
