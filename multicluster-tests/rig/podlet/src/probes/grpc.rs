//! Asks by gRPC: the health service's `Check`, without TLS, as a kubelet does.
//!
//! One message with one text goes out and one with one number comes back, so they are written and
//! read here by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::http::AGENT;

/// The most bytes of an answer; a right one has seven.
const ANSWER_MAX: usize = 1024;
/// What `Check` answers for a service that serves.
const SERVING: &[u8] = &[0x08, 1];

/// Asks for the health of `service` (the server's own if empty).
pub(crate) async fn check(address: SocketAddr, service: &str) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|cause| format!("dial {address}: {cause}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|cause| cause.to_string())?;
    let exchange = async {
        let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, AGENT)
            .body(Full::new(question(service)))
            .map_err(|cause| cause.to_string())?;
        let answer = sender.send_request(request).await.map_err(|cause| cause.to_string())?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|cause| cause.to_string())?;
        // An answer without a message says its status in the head.
        let trailers = body.trailers().cloned().unwrap_or(head.headers);
        let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok()).unwrap_or("missing");
        judge(status, &body.to_bytes())
    };
    tokio::select! {
        result = exchange => result,
        ended = connection => Err(format!("the connection to {address} ended: {ended:?}")),
    }
}

/// The request's message with its length before it.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend(message);
    framed.into()
}

fn judge(status: &str, body: &[u8]) -> Result<(), String> {
    match (status, body.get(5..)) {
        ("0", Some(SERVING)) => Ok(()),
        ("0", _) => Err("service unhealthy (it does not answer SERVING)".to_owned()),
        ("5", _) => Err("the server does not know the service".to_owned()),
        ("12", _) => Err("this server does not implement the grpc health protocol".to_owned()),
        (other, _) => Err(format!("the health check failed with grpc-status {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_a_framed_message() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("a.B")[..], [0, 0, 0, 0, 5, 0x0a, 3, b'a', b'.', b'B']);
        let long = question(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
    }

    #[test]
    fn only_serving_is_well() {
        assert_eq!(judge("0", &[0, 0, 0, 0, 2, 8, 1]), Ok(()));
        assert!(judge("0", &[0, 0, 0, 0, 2, 8, 2]).is_err());
        assert!(judge("0", &[0, 0, 0, 0, 0]).is_err());
        assert!(judge("12", &[]).unwrap_err().contains("implement"));
    }
}
