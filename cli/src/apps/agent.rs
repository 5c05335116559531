//! An agent: does what it is told, one JSON command a line on standard input, one JSON answer a line on
//! standard output, in any order.
//!
//! What it can reach it reaches through its workload's explicit proxy, with its workload's token. It may have a door, by
//! which people come in and ask it something.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::{
    door::{self, Door},
    proxied::{ANSWER_BYTES_MAX, Proxy, connect, whole},
};

/// How long one command may take, of hundreds of requests, on a machine however busy.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a held connection is used.
const HOLD_EVERY: Duration = Duration::from_millis(20);
/// Commands that may be under way at once.
const COMMANDS_MAX: usize = 64;

/// Where the agent's proxy is.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// The workload's explicit proxy.
    #[arg(long)]
    pub(crate) proxy: SocketAddr,
    /// The file with the workload's token.
    #[arg(long)]
    pub(crate) token_file: PathBuf,
    #[command(flatten)]
    pub(crate) door: Door,
}

/// What an agent can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Command {
    /// One MCP request in revision 2026-07-28.
    Mcp { url: String, method: String, params: Value },
    /// Opens an MCP stream under a name and reads it in the background.
    Follow { name: String, url: String, params: Value },
    /// One HTTP request: its status, headers and body; of a stream of events, the data of each.
    Send { method: String, url: String, headers: BTreeMap<String, String>, body: Value },
    /// One HTTP request; `count` of them one after the other, with how often each body came.
    Get { url: String, headers: BTreeMap<String, String>, count: u32 },
    /// Opens one connection by CONNECT under a name, and uses it over and over in the background.
    Hold { name: String, url: String },
    /// How a followed stream or held connection fares.
    Fares { name: String },
    /// Connects to an address past the proxy and says a line.
    Dial { address: SocketAddr, say: String },
    /// One HTTP request through somebody's proxy without a token.
    Borrow { proxy: SocketAddr, url: String },
}

#[derive(Deserialize)]
struct Order {
    id: u64,
    #[serde(flatten)]
    command: Command,
}

/// What became of a followed stream or held connection so far.
#[derive(Debug, Clone, Default, Serialize)]
struct Fare {
    /// Events or answers that came.
    count: u64,
    /// The last one.
    last: Value,
    /// How it ended, if it did.
    ended: Option<String>,
}

type Fares = Arc<Mutex<BTreeMap<String, Fare>>>;

/// Obeys until standard input ends.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let token = std::fs::read_to_string(&options.token_file)
        .with_context(|| format!("cannot read the workload's token from {}", options.token_file.display()))?;
    let proxy = Proxy { address: options.proxy, token: Some(token.trim().to_owned()) };
    let mut door = tokio::spawn(door::run(options.door, proxy.clone()));
    let fares = Fares::default();
    let places = Arc::new(tokio::sync::Semaphore::new(COMMANDS_MAX));
    let (answers, mut answered) = tokio::sync::mpsc::channel::<Value>(COMMANDS_MAX);
    let writer = tokio::spawn(async move {
        let mut output = tokio::io::stdout();
        while let Some(answer) = answered.recv().await {
            output.write_all(format!("{answer}\n").as_bytes()).await?;
            output.flush().await?;
        }
        std::io::Result::Ok(())
    });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            ended = &mut door => return ended?.context("the door cannot be served"),
        };
        let Some(line) = line else { break };
        let order: Order = serde_json::from_str(&line).with_context(|| format!("no command: {line}"))?;
        let place = places.clone().acquire_owned().await?;
        let (proxy, fares, answers) = (proxy.clone(), fares.clone(), answers.clone());
        tokio::spawn(async move {
            let done = tokio::time::timeout(COMMAND_TIMEOUT, obey(order.command, &proxy, &fares)).await;
            let answer = match done {
                Ok(Ok(value)) => json!({ "id": order.id, "ok": value }),
                Ok(Err(error)) => json!({ "id": order.id, "error": format!("{error:#}") }),
                Err(_) => json!({ "id": order.id, "error": format!("no answer within {COMMAND_TIMEOUT:?}") }),
            };
            // The reader of our output is gone only when the demo is; then nobody needs the answer.
            let _ = answers.send(answer).await;
            drop(place);
        });
    }
    drop(answers);
    door.abort();
    writer.await??;
    Ok(())
}

async fn obey(command: Command, proxy: &Proxy, fares: &Fares) -> anyhow::Result<Value> {
    match command {
        Command::Mcp { url, method, params } => {
            let response = proxy.send(mcp(&url, &method, params)?).await?;
            let status = response.status().as_u16();
            let body = whole(response.into_body()).await?;
            let message: Value = serde_json::from_slice(&body)
                .with_context(|| format!("{status}: {}", String::from_utf8_lossy(&body)))?;
            Ok(json!({ "status": status, "message": message }))
        }
        Command::Follow { name, url, params } => {
            follow(name, proxy, mcp(&url, "tools/call", params)?, fares).await
        }
        Command::Send { method, url, headers, body } => send(proxy, &method, &url, &headers, &body).await,
        Command::Get { url, headers, count } => get(proxy, &url, &headers, count).await,
        Command::Hold { name, url } => hold(name, proxy, url.parse()?, fares).await,
        Command::Fares { name } => {
            let fares = fares.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(serde_json::to_value(fares.get(&name).with_context(|| format!("nothing is named {name}"))?)?)
        }
        Command::Dial { address, say } => {
            let mut socket = connect(address).await?;
            socket.write_all(say.as_bytes()).await?;
            let mut heard = [0; 256];
            let length = socket.read(&mut heard).await?;
            Ok(json!({ "heard": String::from_utf8_lossy(&heard[..length]) }))
        }
        Command::Borrow { proxy, url } => {
            let proxy = Proxy { address: proxy, token: None };
            get(&proxy, &url, &BTreeMap::new(), 1).await
        }
    }
}

pub(super) fn mcp(url: &str, method: &str, mut params: Value) -> anyhow::Result<Request<Full<Bytes>>> {
    const REVISION: &str = "2026-07-28";
    let name = params["name"].as_str().unwrap_or_default().to_owned();
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(REVISION);
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let mut request = Request::post(url)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", REVISION)
        .header("mcp-method", method);
    if !name.is_empty() {
        request = request.header("mcp-name", name);
    }
    Ok(request.body(Full::from(message.to_string()))?)
}

async fn send(
    proxy: &Proxy,
    method: &str,
    url: &str,
    headers: &BTreeMap<String, String>,
    body: &Value,
) -> anyhow::Result<Value> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let response = proxy.send(request.body(Full::from(body))?).await?;
    let (head, body) = response.into_parts();
    let headers: BTreeMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let text = String::from_utf8_lossy(&whole(body).await?).into_owned();
    let streamed = headers.get("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    let body = if streamed {
        text.lines().filter_map(|line| line.strip_prefix("data:")).map(|data| parsed(data.trim())).collect()
    } else {
        parsed(text.trim())
    };
    Ok(json!({ "status": head.status.as_u16(), "headers": headers, "body": body }))
}

/// JSON, or else the text.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Counts the answers by status and body, so that a split can be seen.
async fn get(
    proxy: &Proxy,
    url: &str,
    headers: &BTreeMap<String, String>,
    count: u32,
) -> anyhow::Result<Value> {
    let mut answers: BTreeMap<String, u32> = BTreeMap::new();
    let mut last = Value::Null;
    for _ in 0..count {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let response = proxy.send(request.body(Full::default())?).await?;
        let status = response.status().as_u16();
        let denied = response
            .headers()
            .get("x-strait-denied")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = whole(response.into_body()).await?;
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let who = body["app"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        *answers.entry(who).or_default() += 1;
        last = json!({ "status": status, "denied": denied, "body": body });
    }
    Ok(json!({ "answers": answers, "last": last }))
}

async fn follow(
    name: String,
    proxy: &Proxy,
    request: Request<Full<Bytes>>,
    fares: &Fares,
) -> anyhow::Result<Value> {
    let response = proxy.send(request).await?;
    let status = response.status().as_u16();
    if !response
        .headers()
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
    {
        bail!("{status}: {}", String::from_utf8_lossy(&whole(response.into_body()).await?));
    }
    note(fares, &name, |_| {});
    let fares = fares.clone();
    tokio::spawn(async move {
        let mut body = response.into_body();
        let mut text = String::new();
        let ended = loop {
            match body.frame().await {
                None => break "end of stream".to_owned(),
                Some(Err(error)) => break format!("broken: {error}"),
                Some(Ok(frame)) => {
                    let Some(data) = frame.data_ref() else { continue };
                    text.push_str(&String::from_utf8_lossy(data));
                    if text.len() > ANSWER_BYTES_MAX {
                        break "an event has no end".to_owned();
                    }
                    while let Some(end) = text.find("\n\n") {
                        let event: String = text.drain(..end + 2).collect();
                        let data =
                            event.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or("").trim();
                        let message = serde_json::from_str(data).unwrap_or(Value::Null);
                        note(&fares, &name, |fare| {
                            fare.count += 1;
                            fare.last = message;
                        });
                    }
                }
            }
        };
        note(&fares, &name, |fare| fare.ended = Some(ended));
    });
    Ok(json!({ "status": status }))
}

async fn hold(name: String, proxy: &Proxy, url: Uri, fares: &Fares) -> anyhow::Result<Value> {
    let socket = proxy.tunnel(&url).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    note(fares, &name, |_| {});
    let fares = fares.clone();
    let host = url.authority().context("the URL has no host")?.as_str().to_owned();
    tokio::spawn(async move {
        let ended = loop {
            let Ok(request) = Request::get(url.path()).header("host", &host).body(Full::<Bytes>::default())
            else {
                break "the URL is no request".to_owned();
            };
            let answer = match sender.send_request(request).await {
                Ok(response) => whole(response.into_body()).await,
                Err(error) => Err(error.into()),
            };
            match answer {
                Ok(body) => note(&fares, &name, |fare| {
                    fare.count += 1;
                    fare.last = Value::String(String::from_utf8_lossy(&body).trim().to_owned());
                }),
                Err(error) => break format!("{error:#}"),
            }
            tokio::time::sleep(HOLD_EVERY).await;
        };
        note(&fares, &name, |fare| fare.ended = Some(ended));
    });
    Ok(json!({ "held": true }))
}

fn note(fares: &Fares, name: &str, change: impl FnOnce(&mut Fare)) {
    change(fares.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
}
