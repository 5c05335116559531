//! Probes of a small server on loopback.

use k8s_openapi::api::core::v1::{ContainerPort, HTTPHeader};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A server that answers each connection by its path, and says what it was asked.
async fn server() -> (u16, tokio::sync::mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, questions) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut lines = Vec::new();
            let mut reader = BufReader::new(&mut stream);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).await.unwrap();
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            let path = lines[0].split(' ').nth(1).unwrap().to_owned();
            let head = match path.as_str() {
                "/well" => "200 OK\r\n".to_owned(),
                "/ill" => "503 Service Unavailable\r\n".to_owned(),
                "/here" => "302 Found\r\nlocation: /ill\r\n".to_owned(),
                "/there" => "302 Found\r\nlocation: http://example.invalid/\r\n".to_owned(),
                "/round" => "302 Found\r\nlocation: /round\r\n".to_owned(),
                _ => std::future::pending().await,
            };
            asked.send(lines).await.unwrap();
            let answer = format!("HTTP/1.1 {head}content-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, questions)
}

fn action(port: u16, path: &str) -> HTTPGetAction {
    HTTPGetAction {
        port: IntOrString::Int(port.into()),
        path: Some(path.to_owned()),
        ..HTTPGetAction::default()
    }
}

#[tokio::test]
async fn codes_and_redirects_are_judged_as_a_kubelet_does() {
    let (port, _questions) = server().await;
    for (path, expected) in [
        ("/well", None),
        ("/ill", Some("statuscode: 503")),
        ("/here", Some("statuscode: 503")),
        ("/there", None),
        ("/round", Some("10 times")),
    ] {
        let timeout = Duration::from_secs(10);
        let result = get(&action(port, path), &Container::default(), LOCALHOST, timeout).await;
        match expected {
            None => assert_eq!(result, Ok(()), "{path}"),
            Some(part) => assert!(result.as_ref().unwrap_err().contains(part), "{path}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_probe_says_who_it_is_and_what_it_was_told_to() {
    let (port, mut questions) = server().await;
    let header = |name: &str, value: &str| HTTPHeader { name: name.to_owned(), value: value.to_owned() };
    let container = Container {
        ports: Some(vec![ContainerPort {
            name: Some("web".to_owned()),
            container_port: port.into(),
            ..ContainerPort::default()
        }]),
        ..Container::default()
    };
    let named = HTTPGetAction {
        port: IntOrString::String("web".to_owned()),
        http_headers: Some(vec![header("Host", "shop.example"), header("X-Probe", "1")]),
        ..action(port, "/well")
    };
    get(&named, &container, LOCALHOST, Duration::from_secs(10)).await.unwrap();
    let lines = questions.recv().await.unwrap();
    for line in ["user-agent: kube-probe/1.37", "host: shop.example", "x-probe: 1", "connection: close"] {
        assert!(lines.iter().any(|known| known == line), "{line} is not in {lines:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_fails_the_probe_in_time() {
    let (port, _questions) = server().await;
    let timeout = Duration::from_millis(50);
    let error = get(&action(port, "/silent"), &Container::default(), LOCALHOST, timeout).await.unwrap_err();
    assert!(error.contains("50ms"), "{error}");
}

#[test]
fn ports_have_numbers_or_names() {
    let container = Container::default();
    assert_eq!(port(&IntOrString::Int(80), &container), Ok(80));
    assert!(port(&IntOrString::Int(70_000), &container).is_err());
    assert!(port(&IntOrString::String("web".to_owned()), &container).unwrap_err().contains("web"));
}
