//! Speaks as a process of one workload: through its explicit proxy, with its token.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer to CONNECT, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// A workload's explicit proxy, and what it is shown.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where the proxy is.
    pub proxy: SocketAddr,
    /// The token.
    pub token: String,
}

/// What became of a CONNECT.
#[derive(Debug)]
pub enum Opened {
    /// It is carried.
    Open(TcpStream),
    /// It was refused.
    Refused(Denied),
}

/// A refusal as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The status.
    pub status: StatusCode,
    /// The refusal's id, when it was said.
    pub id: String,
    /// The reason, when it was said.
    pub reason: String,
}

impl Denied {
    /// Reads it from an answer.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let said = headers.get("x-strait-denied").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let fields: BTreeMap<&str, &str> =
            said.split(';').filter_map(|field| field.trim().split_once('=')).collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        Self { status, id: field("id"), reason: field("reason") }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} id={} reason={}", self.status, self.id, self.reason)
    }
}

impl Client {
    fn authorization(&self) -> String {
        let pair = format!("workload:{}", self.token);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }

    /// Asks for a connection to `authority` (host and port).
    ///
    /// # Errors
    /// When the proxy itself cannot be reached or speaks no HTTP.
    pub async fn connect(&self, authority: &str) -> anyhow::Result<Opened> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.connect_now(authority))
            .await
            .context("no answer to CONNECT")?
    }

    async fn connect_now(&self, authority: &str) -> anyhow::Result<Opened> {
        let mut stream = TcpStream::connect(self.proxy).await.context("the explicit proxy is not there")?;
        let head = format!(
            "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: {}\r\n\r\n",
            self.authorization()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            ensure!(answer.len() < HEAD_BYTES_MAX, "the answer to CONNECT has no end");
            match stream.read_u8().await {
                Ok(byte) => answer.push(byte),
                Err(cause) => bail!("{cause} after {:?}", String::from_utf8_lossy(&answer)),
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let mut lines = text.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
        let status: StatusCode = status.parse()?;
        if status.is_success() {
            return Ok(Opened::Open(stream));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let name: http::HeaderName = name.parse()?;
            headers.append(name, value.trim().parse()?);
        }
        Ok(Opened::Refused(Denied::of(status, &headers)))
    }

    /// A carried connection.
    ///
    /// # Errors
    /// When it is refused, with the refusal.
    pub async fn open(&self, authority: &str) -> anyhow::Result<TcpStream> {
        match self.connect(authority).await? {
            Opened::Open(stream) => Ok(stream),
            Opened::Refused(denied) => bail!("{authority} refused: {denied}"),
        }
    }

    /// The refusal of a connection.
    ///
    /// # Errors
    /// When it is carried.
    pub async fn refused(&self, authority: &str) -> anyhow::Result<Denied> {
        match self.connect(authority).await? {
            Opened::Open(_) => bail!("{authority} was let through"),
            Opened::Refused(denied) => Ok(denied),
        }
    }

    /// Sends one request over a connection of its own; the answer's body streams.
    ///
    /// # Errors
    /// When the connection is refused or lost.
    pub async fn stream(&self, request: Request<Bytes>) -> anyhow::Result<Response<Incoming>> {
        let (authority, request) = on_the_wire(request)?;
        send(self.open(&authority).await?, request).await
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// As [`Client::stream`].
    pub async fn request(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let whole = async {
            let (head, body) = self.stream(request).await?.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(ANSWER_TIMEOUT, whole).await.context("no answer")?
    }

    /// Gets a URL.
    ///
    /// # Errors
    /// As [`Client::stream`].
    pub async fn get(&self, url: &str) -> anyhow::Result<Response<Bytes>> {
        self.request(Request::get(url).body(Bytes::new())?).await
    }

    /// Gets a URL and says what was answered: the body of a 200, else an error with the refusal.
    ///
    /// # Errors
    /// When the answer is no 200.
    pub async fn text(&self, url: &str) -> anyhow::Result<String> {
        let response = self.get(url).await?;
        if response.status() != StatusCode::OK {
            bail!("{}", Denied::of(response.status(), response.headers()));
        }
        Ok(String::from_utf8_lossy(response.body()).into_owned())
    }

    /// Gets a URL that must be refused, be it the connection or the request.
    ///
    /// # Errors
    /// When it is let through.
    pub async fn denied(&self, url: &str) -> anyhow::Result<Denied> {
        let (authority, request) = on_the_wire(Request::get(url).body(Bytes::new())?)?;
        let stream = match self.connect(&authority).await? {
            Opened::Refused(denied) => return Ok(denied),
            Opened::Open(stream) => stream,
        };
        let response = tokio::time::timeout(ANSWER_TIMEOUT, send(stream, request)).await??;
        ensure!(!response.status().is_success(), "{url} was let through");
        Ok(Denied::of(response.status(), response.headers()))
    }
}

/// The authority to connect to, and the request in origin form.
fn on_the_wire(request: Request<Bytes>) -> anyhow::Result<(String, Request<Full<Bytes>>)> {
    let (mut head, body) = request.into_parts();
    let host = head.uri.host().context("the URL has no host")?.to_owned();
    let authority = format!("{host}:{}", head.uri.port_u16().unwrap_or(80));
    head.headers.insert(http::header::HOST, host.parse()?);
    head.uri = head.uri.path_and_query().map_or("/", |it| it.as_str()).parse()?;
    Ok((authority, Request::from_parts(head, Full::new(body))))
}

/// Sends one request on a connection.
async fn send(stream: TcpStream, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?)
}
