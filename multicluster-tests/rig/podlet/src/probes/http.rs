//! Asks by HTTP: well is an answer from 200 to 399.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::Url;

use super::tls;

/// How a node's probes call themselves.
pub(crate) const AGENT: &str = "kube-probe/1.37";
/// How often an answer may send us on.
const REDIRECTS_MAX: usize = 10;
/// How much of an answer is read.
const BODY_MAX: usize = 10 * 1024;

/// Asks as a probe (or a hook) of `container` says, at `address` unless it names a host.
///
/// # Errors
/// Why the answer was not one from 200 to 399, in a sentence for an event.
pub async fn get(
    action: &HTTPGetAction,
    container: &Container,
    address: IpAddr,
    timeout: Duration,
) -> Result<(), String> {
    let asked = async {
        let mut url = first(action, container, address)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        for _ in 0..REDIRECTS_MAX {
            let answer = ask(&url, action).await.map_err(|cause| format!("Get {url}: {cause}"))?;
            let status = answer.status();
            let next = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = next.filter(|_| status.is_redirection()).and_then(|location| url.join(location).ok());
            match next {
                // Who is sent to another host has been answered, and may not make us ask there.
                Some(next) if next.host_str() == Some(&host) => url = next,
                _ if status.as_u16() < 400 => return Ok(()),
                _ => return Err(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
            }
        }
        Err(format!("Get {url}: sent on more than {REDIRECTS_MAX} times"))
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer by HTTP within {timeout:?}")),
    }
}

/// The port that a probe means.
pub(crate) fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            let named = ports.iter().find(|port| port.name.as_ref() == Some(name));
            match named {
                Some(named) => named.container_port,
                None => name.parse().map_err(|_| format!("the container has no port named {name:?}"))?,
            }
        }
    };
    u16::try_from(number).map_err(|_| format!("{number} is no port"))
}

fn first(action: &HTTPGetAction, container: &Container, address: IpAddr) -> Result<Url, String> {
    let port = port(&action.port, container)?;
    let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_ascii_lowercase();
    let host = match action.host.as_deref().filter(|host| !host.is_empty()) {
        Some(host) => host.to_owned(),
        None => match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        },
    };
    let path = action.path.as_deref().unwrap_or("/").trim_start_matches('/');
    let text = format!("{scheme}://{host}:{port}/{path}");
    Url::parse(&text).map_err(|cause| format!("{text} is no URL: {cause}"))
}

async fn ask(url: &Url, action: &HTTPGetAction) -> Result<Response<()>, String> {
    let address = resolve(url).await?;
    let stream = TcpStream::connect(address).await.map_err(|cause| format!("dial {address}: {cause}"))?;
    if url.scheme() != "https" {
        return send(stream, url, action).await;
    }
    let config = tls::config().map_err(|cause| cause.to_string())?;
    let name = host_header(action).unwrap_or_else(|| url.host_str().unwrap_or_default().to_owned());
    let name = ServerName::try_from(name).unwrap_or(ServerName::IpAddress(address.ip().into()));
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    send(stream.map_err(|cause| format!("TLS with {address}: {cause}"))?, url, action).await
}

async fn resolve(url: &Url) -> Result<SocketAddr, String> {
    let port = url.port_or_known_default().unwrap_or(80);
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let found =
        tokio::net::lookup_host((host, port)).await.map_err(|cause| format!("look up {host}: {cause}"));
    found?.next().ok_or_else(|| format!("look up {host}: no address"))
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    action: &HTTPGetAction,
) -> Result<Response<()>, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|cause| cause.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request(url, action)?).await.map_err(|cause| cause.to_string())?;
        Ok(head(answer).await)
    };
    // Carried here, so that it ends with the probe.
    let carried = async {
        if let Err(error) = connection.await {
            tracing::trace!(%error, "a probe's connection broke");
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = carried => unreachable!("it never ends"),
    }
}

/// Reads (some of) the body, so that a server that still writes is not broken off at once.
async fn head(answer: Response<Incoming>) -> Response<()> {
    let (head, body) = answer.into_parts();
    // What the body says, and whether it ends, is not asked.
    let _ = Limited::new(body, BODY_MAX).collect().await;
    Response::from_parts(head, ())
}

fn request(url: &Url, action: &HTTPGetAction) -> Result<Request<Empty<bytes::Bytes>>, String> {
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::get(target).body(Empty::new()).map_err(|cause| cause.to_string())?;
    let own = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let headers = request.headers_mut();
    for (name, value) in [(USER_AGENT, AGENT), (ACCEPT, "*/*"), (CONNECTION, "close"), (HOST, own)] {
        headers.insert(name, HeaderValue::from_str(value).map_err(|cause| cause.to_string())?);
    }
    // What the probe says goes before; an empty Accept or User-Agent takes ours away.
    for header in action.http_headers.as_deref().unwrap_or_default() {
        let name =
            HeaderName::try_from(&header.name).map_err(|_| format!("{:?} is no header", header.name))?;
        let value = HeaderValue::from_str(&header.value).map_err(|cause| cause.to_string())?;
        match (value.is_empty(), &name) {
            (true, &ACCEPT | &USER_AGENT) => _ = headers.remove(name),
            (_, &HOST | &ACCEPT | &USER_AGENT) => _ = headers.insert(name, value),
            _ => _ = headers.append(name, value),
        }
    }
    Ok(request)
}

fn host_header(action: &HTTPGetAction) -> Option<String> {
    let headers = action.http_headers.as_deref().unwrap_or_default();
    let host = headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"))?;
    Some(host.value.split(':').next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests;
