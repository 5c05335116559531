//! Speaks HTTP CONNECT to an explicit proxy, byte by byte.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use base64::Engine as _;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest head, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A workload's explicit proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it is.
    pub address: SocketAddr,
    /// The workload's token.
    pub token: String,
}

impl Proxy {
    /// As curl takes it, such as `http://workload:TOKEN@IP:PORT`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://workload:{}@{}", self.token, self.address)
    }
}

/// The answer to a CONNECT; what follows on the stream, if it is a 200, is the destination's.
#[derive(Debug)]
pub struct Tunnelled {
    /// The status.
    pub status: u16,
    /// The head.
    pub head: String,
    /// The connection.
    pub stream: TcpStream,
}

impl Tunnelled {
    /// Sends a request and reads the answer: its head, and a body with a content-length.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn ask(&mut self, request: &str) -> anyhow::Result<(String, Vec<u8>)> {
        self.stream.write_all(request.as_bytes())?;
        let head = read_head(&mut self.stream)?;
        let length = head.lines().filter_map(|line| line.split_once(':'));
        let length = length.filter(|(key, _)| key.eq_ignore_ascii_case("content-length"));
        let length = length.filter_map(|(_, value)| value.trim().parse().ok()).next().unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((head, body))
    }
}

/// Asks a proxy for a connection to `authority`.
///
/// # Errors
/// When the proxy is not there or answers no HTTP.
pub fn connect(proxy: &Proxy, authority: &str) -> anyhow::Result<Tunnelled> {
    let mut stream = TcpStream::connect(proxy.address).context("the explicit proxy is not there")?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_nodelay(true)?;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("workload:{}", proxy.token));
    let head = format!(
        "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: Basic {pair}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let head = read_head(&mut stream)?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Tunnelled { status, head, stream })
}

fn read_head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < HEAD_BYTES_MAX, "the head has no end");
        stream
            .read_exact(&mut byte)
            .with_context(|| format!("after {:?}", String::from_utf8_lossy(&head)))?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
