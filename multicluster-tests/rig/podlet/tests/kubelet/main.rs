//! The kubelet's API as an API server uses it, over a real container.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail their test")]

mod support;

use std::time::Duration;

use jiff::Timestamp;
use podlet::log::Source;
use podlet::server::API_SERVER;
use support::{Kubelet, able};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const EXEC: &str = "/exec/default/web/main";
const V4: &str = "v4.channel.k8s.io";

/// Fails a test that would wait for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes less than a minute")
}

async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut text = String::new();
    soon(stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// The path for a script in the container.
fn shell(script: &str) -> String {
    let script: String = form_urlencoded::byte_serialize(script.as_bytes()).collect();
    format!("{EXEC}?command=sh&command=-c&command={script}")
}

#[tokio::test]
async fn a_command_answers_with_its_outputs_and_its_code() {
    if !able() {
        return;
    }
    let kubelet = Kubelet::start().await;
    let path = shell("echo out; echo err >&2; exit 7") + "&output=1&error=1";
    let (_connection, [error, stdout, stderr]) =
        kubelet.upgrade(&path, V4, ["error", "stdout", "stderr"]).await;
    assert_eq!(rest(stdout).await, "out\n");
    assert_eq!(rest(stderr).await, "err\n");
    let status: serde_json::Value = serde_json::from_str(&rest(error).await).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "7");
}

#[tokio::test]
async fn input_ends_when_the_client_says_so_and_three_megabytes_come_back() {
    if !able() {
        return;
    }
    let kubelet = Kubelet::start().await;
    let path = format!("{EXEC}?command=cat&input=1&output=1");
    let (_connection, [error, mut stdin, mut stdout]) =
        kubelet.upgrade(&path, V4, ["error", "stdin", "stdout"]).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 253) as u8).collect();
    let writing = async {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (_, read) = soon(async { tokio::join!(writing, stdout.read_to_end(&mut heard)) }).await;
    read.unwrap();
    assert!(heard == sent);
    assert!(rest(error).await.contains("Success"));
}

#[tokio::test]
async fn a_terminal_has_the_size_of_the_clients() {
    if !able() {
        return;
    }
    let kubelet = Kubelet::start().await;
    let path = format!("{EXEC}?command=sh&input=1&output=1&tty=1");
    let (_connection, [error, mut stdin, mut stdout, mut resize]) =
        kubelet.upgrade(&path, V4, ["error", "stdin", "stdout", "resize"]).await;
    resize.write_all(b"{\"Width\":123,\"Height\":45}\n").await.unwrap();
    // The size goes through two terminals by signals; it is asked for until it is there.
    stdin
        .write_all(b"until [ \"$(stty size)\" = '45 123' ]; do sleep 0.1; done; tty; exit 3\n")
        .await
        .unwrap();
    let mut heard = String::new();
    soon(stdout.read_to_string(&mut heard)).await.unwrap();
    assert!(heard.contains("/dev/pts/"), "{heard}");
    assert!(rest(error).await.contains("\"message\":\"3\""));
}

#[tokio::test]
async fn a_command_whose_client_left_is_killed() {
    if !able() {
        return;
    }
    let kubelet = Kubelet::start().await;
    let path = shell("sleep 4711 & echo 1; sleep 4711") + "&output=1";
    let (connection, [_error, mut stdout]) = kubelet.upgrade(&path, V4, ["error", "stdout"]).await;
    let mut first = [0; 2];
    soon(stdout.read_exact(&mut first)).await.unwrap();
    drop((connection, stdout));
    // What is left in the container is asked from within, until nothing is.
    // The pattern does not match the shell and the grep that hold it.
    let path =
        shell("while grep -q '47[1]1' /proc/[0-9]*/cmdline; do sleep 0.1; done; echo gone") + "&output=1";
    let (_connection, [_error, stdout]) = kubelet.upgrade(&path, V4, ["error", "stdout"]).await;
    assert_eq!(rest(stdout).await, "gone\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_to_be() {
    if !able() {
        return;
    }
    let kubelet = Kubelet::start().await;
    let path = format!("{EXEC}?command=no-such-program&output=1&error=1");
    let (_connection, [error, _stdout, stderr]) =
        kubelet.upgrade(&path, V4, ["error", "stdout", "stderr"]).await;
    assert!(rest(stderr).await.contains("no-such-program"));
    assert!(rest(error).await.contains("InternalError"));
}

#[tokio::test]
async fn a_port_is_reached_and_a_closed_one_is_told() {
    if !able() {
        return;
    }
    let kubelet = Kubelet::start().await;
    let (_connection, [error, data]) =
        kubelet.upgrade("/portForward/default/web", "portforward.k8s.io", ["error", "data"]).await;
    // Port 0 is never open.
    assert!(rest(error).await.contains("port 0"));
    assert_eq!(rest(data).await, "");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let (connection, []) = kubelet.upgrade("/portForward/default/web", "portforward.k8s.io", []).await;
    let headers =
        |kind: &str| spdy::Headers::new().with("streamType", kind).with("port", &port).with("requestID", "7");
    let error = connection.open(headers("error")).await.unwrap();
    let mut data = connection.open(headers("data")).await.unwrap();
    data.replied().await.unwrap();
    data.write_all(b"there and back").await.unwrap();
    data.shutdown().await.unwrap();
    assert_eq!(rest(data).await, "there and back");
    assert_eq!(rest(error).await, "");
    echo.await.unwrap();
}

#[tokio::test]
async fn logs_are_told_to_the_api_server_alone() {
    if !able() {
        return;
    }
    let mut kubelet = Kubelet::start().await;
    let log = "/containerLogs/default/web/main?tailLines=1";
    kubelet.log.write(Source::Stdout, b"one\ntwo\n", Timestamp::now()).unwrap();
    let answer = kubelet.get(API_SERVER, log).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("two\n") && !answer.contains("one"),
        "{answer}"
    );
    let answer = kubelet.get("somebody", log).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = kubelet.get(API_SERVER, "/containerLogs/default/web/main?previous=true").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(kubelet.get(API_SERVER, "/metrics").await.contains("kubelet_running_pods 1"));
}
