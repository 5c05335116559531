//! Reads the control plane's admin pages.

use std::{io::Write as _, net::SocketAddr, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transport::{Address, dial};

/// How long the control plane may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest page that is read, in bytes.
const PAGE_BYTES_MAX: usize = 256 << 20;

/// Where a running control plane is, as it writes it into its state directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Running {
    /// Its admin page.
    pub(crate) admin: SocketAddr,
    /// Where proxies connect.
    pub(crate) address: SocketAddr,
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The trust domain.
    pub(crate) trust_domain: String,
}

impl Running {
    /// The name of the file in the state directory.
    pub(crate) const FILE: &str = "controlplane.json";

    /// Finds the control plane whose state is in a directory.
    pub(crate) fn find(state: &Path) -> anyhow::Result<Self> {
        let file = state.join(Self::FILE);
        let text = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "no control plane has its state in {}: give --state DIR of a running `strait up`, or start one",
                state.display()
            )
        })?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
    }

    /// Reads one page.
    pub(crate) async fn page(&self, path: &str) -> anyhow::Result<Value> {
        page(self.admin, path).await
    }

    /// Changes something, or asks with a text, as whoever may read the state directory.
    pub(crate) async fn post(&self, state: &Path, path: &str, text: String) -> anyhow::Result<Value> {
        let file = state.join("admin-token");
        let token = std::fs::read_to_string(&file).with_context(|| {
            format!("cannot read {}: only whoever runs the control plane may do this", file.display())
        })?;
        let request = Request::post(path)
            .header("host", self.admin.to_string())
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(Full::from(text))?;
        let body = within(self.admin, request).await?;
        serde_json::from_slice(&body).with_context(|| format!("{}{path} answered no JSON", self.admin))
    }
}

/// The file in a proxy's state directory that says where its admin page is.
const ADMIN_FILE: &str = "admin";

/// Writes down where a proxy's admin page is, for the commands of whoever owns its state directory.
pub(crate) fn tell_admin(state: &Path, admin: SocketAddr) -> anyhow::Result<()> {
    runtime::sealed::private_directory(state)?;
    let file = state.join(ADMIN_FILE);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&file).and_then(|mut file| file.write_all(admin.to_string().as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// The admin pages of the proxies whose state is beside the control plane's, by the proxy's name.
pub(crate) fn proxies(state: &Path) -> Vec<(String, SocketAddr)> {
    let Ok(folders) = std::fs::read_dir(state.join("proxies")) else { return Vec::new() };
    let mut found: Vec<(String, SocketAddr)> = folders
        .flatten()
        .filter_map(|folder| {
            let admin = std::fs::read_to_string(folder.path().join(ADMIN_FILE)).ok()?;
            Some((folder.file_name().into_string().ok()?, admin.trim().parse().ok()?))
        })
        .collect();
    found.sort();
    found
}

/// Reads one JSON page of an admin port.
pub(crate) async fn page(admin: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let body = within(admin, get(admin, path)?).await?;
    serde_json::from_slice(&body)
        .with_context(|| format!("{admin}{path} answered something that is not JSON"))
}

/// Reads one page of an admin port as text.
pub(crate) async fn text(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    Ok(String::from_utf8_lossy(&within(admin, get(admin, path)?).await?).into_owned())
}

fn get(admin: SocketAddr, path: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    Ok(Request::get(path).header("host", admin.to_string()).body(Full::default())?)
}

async fn within(admin: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
    tokio::time::timeout(ANSWER_TIMEOUT, send(admin, request))
        .await
        .with_context(|| format!("{admin} did not answer within {ANSWER_TIMEOUT:?}"))?
}

async fn send(admin: SocketAddr, request: Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
    let path = request.uri().path().to_owned();
    let target = dial::Target { address: Address::Tcp(admin), from: None, timeout: ANSWER_TIMEOUT };
    let socket = dial::dial(&target).await.with_context(|| {
        format!("nobody answers at the admin address {admin}: is the control plane still running?")
    })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), PAGE_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow::anyhow!("{admin}{path}: {error}"))?
        .to_bytes();
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    Ok(body)
}
