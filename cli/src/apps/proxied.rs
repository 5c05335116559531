//! HTTP through a workload's explicit proxy, as any program with `http_proxy` set would do it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transport::{Address, Socket, dial};

/// How long the proxy may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that an agent reads, in bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The longest answer to CONNECT that is read, in bytes.
const CONNECT_ANSWER_BYTES_MAX: usize = 8 << 10;

/// A workload's explicit proxy and its token.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
}

impl Proxy {
    fn authorization(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        let pair = format!("workload:{token}");
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }

    /// Sends one request in absolute form, on a connection of its own.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        if let Some(authorization) = self.authorization() {
            let value = HeaderValue::from_str(&authorization).context("the token is no header value")?;
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, value);
        }
        let host = request.uri().authority().context("the URL has no host")?.as_str().to_owned();
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(&host)?);
        send_on(connect(self.address).await?, request).await
    }

    /// Opens a tunnel by CONNECT to the host of the URL.
    pub(crate) async fn tunnel(&self, url: &Uri) -> anyhow::Result<Socket> {
        let host = url.host().context("the URL has no host")?;
        let port = url.port_u16().unwrap_or(80);
        let mut socket = connect(self.address).await?;
        let authorization = self
            .authorization()
            .map_or_else(String::new, |value| format!("Proxy-Authorization: {value}\r\n"));
        let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
        socket.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() >= CONNECT_ANSWER_BYTES_MAX {
                bail!("the proxy's answer to CONNECT has no end");
            }
            match socket.read_u8().await {
                Ok(byte) => answer.push(byte),
                Err(_) => bail!("the proxy closed the connection: {}", first_line(&answer)),
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200") {
            bail!("the proxy refused: {}", first_line(&answer));
        }
        Ok(socket)
    }
}

/// A plain connection to an address, past any proxy.
pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Socket> {
    let target = dial::Target { address: Address::Tcp(address), from: None, timeout: CONNECT_TIMEOUT };
    Ok(dial::dial(&target).await?)
}

/// Sends one request on a connection.
pub(crate) async fn send_on(
    socket: Socket,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}

/// The whole body of an answer.
pub(crate) async fn whole(body: Incoming) -> anyhow::Result<Bytes> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes())
}

fn first_line(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).lines().next().unwrap_or("nothing").to_owned()
}
