//! From a request to a SPDY connection.

use std::future::Future;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use spdy::Connection;
use tokio_util::sync::CancellationToken;

use super::answer::{self, Body};

const SPDY: &str = "SPDY/3.1";
const PROTOCOL: &str = "x-stream-protocol-version";
const PROTOCOLS_KNOWN: &str = "x-accepted-stream-protocol-versions";

/// What is spoken over the streams of exec and attach.
pub(crate) const REMOTE_COMMAND: &str = "v4.channel.k8s.io";
/// What is spoken over those of port-forward.
pub(crate) const PORT_FORWARD: &str = "portforward.k8s.io";

/// Answers with an upgrade, and runs `serve` over the connection that comes of it. When `serve` is
/// done, the connection is closed after all that was written; when `shutdown` comes, at once.
pub(crate) fn respond<F>(
    request: Request<Incoming>,
    protocol: &'static str,
    shutdown: CancellationToken,
    serve: impl FnOnce(Connection) -> F + Send + 'static,
) -> Response<Body>
where
    F: Future<Output = ()> + Send + 'static,
{
    if let Err(refusal) = check(request.headers(), protocol) {
        return *refusal;
    }
    tokio::spawn(async move {
        let upgraded = match hyper::upgrade::on(request).await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => return tracing::debug!(%error, "a client left before its upgrade"),
        };
        let (connection, carrier) = spdy::server(upgraded);
        // Served by a task of its own: the carrier may end first, and then `serve` has to tidy up.
        let serving = tokio::spawn(serve(connection));
        tokio::select! {
            carried = carrier => if let Err(error) = carried {
                tracing::debug!(%error, "a streaming connection broke");
            },
            () = shutdown.cancelled() => {}
        }
        // Once the connection is gone everything in `serve` ends by itself; an error is its panic.
        let _ = serving.await;
    });
    let mut response = Response::new(answer::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(PROTOCOL, HeaderValue::from_static(protocol));
    response
}

fn check(headers: &HeaderMap, protocol: &'static str) -> Result<(), Box<Response<Body>>> {
    if !names(headers, UPGRADE.as_str()).any(|name| name.eq_ignore_ascii_case(SPDY)) {
        let text = format!("this is a stream: ask for an upgrade to {SPDY}\n");
        return Err(Box::new(answer::text(400, text)));
    }
    if names(headers, PROTOCOL).any(|name| name == protocol) {
        return Ok(());
    }
    let mut refusal = answer::text(403, format!("of the stream protocols only {protocol} is spoken here\n"));
    refusal.headers_mut().insert(PROTOCOLS_KNOWN, HeaderValue::from_static(protocol));
    Err(Box::new(refusal))
}

/// The comma-separated values of all headers of a name.
fn names<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_code(headers: &[(&'static str, &'static str)], expected: Option<u16>) {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse::<hyper::header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        });
        let refusal = check(&headers.collect(), REMOTE_COMMAND).err();
        assert_eq!(refusal.map(|refusal| refusal.status().as_u16()), expected);
    }

    #[test]
    fn the_protocol_is_found_among_those_offered() {
        let upgrade = ("upgrade", "SPDY/3.1");
        check_code(&[upgrade, (PROTOCOL, "v5.channel.k8s.io, v4.channel.k8s.io")], None);
        check_code(&[upgrade, (PROTOCOL, "v5.channel.k8s.io"), (PROTOCOL, "v4.channel.k8s.io")], None);
        check_code(&[upgrade, (PROTOCOL, "v3.channel.k8s.io")], Some(403));
        check_code(&[upgrade], Some(403));
        check_code(&[("upgrade", "websocket"), (PROTOCOL, "v4.channel.k8s.io")], Some(400));
    }
}
