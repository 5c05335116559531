//! Reads admin pages, one connection each.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long a page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn text(at: SocketAddr, path: &str) -> anyhow::Result<String> {
    tokio::time::timeout(PAGE_TIMEOUT, read(at, path)).await.context("the page takes too long")?
}

pub(crate) async fn json(at: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let text = text(at, path).await?;
    serde_json::from_str(&text).with_context(|| format!("{path} is no JSON: {text}"))
}

async fn read(at: SocketAddr, path: &str) -> anyhow::Result<String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(at).await?)).await?;
    tokio::spawn(connection);
    let request = Request::get(path).header("host", at.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    ensure!(status.is_success(), "{path}: {status}: {text}");
    Ok(text)
}
