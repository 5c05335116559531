//! `/portForward`: connections to ports within a pod.
//!
//! A client opens two streams for each connection, one for data and one to be told why it failed;
//! the header `requestID` says which belong together.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use nix::sched::{CloneFlags, setns};
use spdy::{Connection, Stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Node;
use super::answer::{self, Body};
use super::channels::STREAM_TYPE;
use super::exec;
use super::route::PodName;
use super::upgrade;

/// The most connections at once over one client's.
const FORWARDS_MAX: usize = 512;
/// The most connections of which one stream is there and the other is not.
const HALVES_MAX: usize = 128;
/// How long a connection to a port may take to come about.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the client may go on writing after the pod has said all.
const REST_TIME_MAX: Duration = Duration::from_secs(5);

/// One stream of two.
enum Half {
    Data(Stream),
    Error(Stream),
}

/// Answers with an upgrade, and forwards over it.
pub(crate) fn respond(
    request: Request<Incoming>,
    node: &Node,
    name: &PodName,
    shutdown: CancellationToken,
) -> Response<Body> {
    let entry = match exec::pod(&node.pods, name) {
        Ok(entry) => entry,
        Err(refusal) => return *refusal,
    };
    let state = entry.state();
    if !state.networked {
        let text = format!("pod {}/{} has no network (yet)\n", name.namespace, name.pod);
        return answer::text(400, text);
    }
    let pod = format!("{}/{}", name.namespace, name.pod);
    upgrade::respond(request, upgrade::PORT_FORWARD, shutdown, move |connection| {
        serve(connection, state.netns, pod)
    })
}

async fn serve(mut connection: Connection, netns: Option<PathBuf>, pod: String) {
    let mut halves: HashMap<String, Half> = HashMap::new();
    let mut forwards = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = connection.accept() => incoming,
            // Those that are done give their places back.
            Some(_) = forwards.join_next() => continue,
        };
        let Some(incoming) = incoming else { break };
        let headers = incoming.headers();
        let kind = headers.get(STREAM_TYPE).unwrap_or_default().to_owned();
        let port = headers.get("port").and_then(|port| port.parse::<u16>().ok());
        let request = headers.get("requestID").map(str::to_owned);
        let full = forwards.len() >= FORWARDS_MAX || halves.len() >= HALVES_MAX;
        let (Some(port), Some(request), false) = (port, request, full) else {
            incoming.refuse().await;
            continue;
        };
        let half = match kind.as_str() {
            "data" => Half::Data(incoming.accept().await),
            "error" => Half::Error(incoming.accept().await),
            _ => {
                incoming.refuse().await;
                continue;
            }
        };
        match (half, halves.remove(&request)) {
            (Half::Data(data), Some(Half::Error(error))) | (Half::Error(error), Some(Half::Data(data))) => {
                forwards.spawn(forward(netns.clone(), pod.clone(), port, data, error));
            }
            // The second of a kind takes the first's place.
            (half, _) => {
                halves.insert(request, half);
            }
        }
    }
}

async fn forward(netns: Option<PathBuf>, pod: String, port: u16, mut data: Stream, mut error: Stream) {
    let mut target = match connect(netns, port).await {
        Ok(target) => target,
        Err(cause) => {
            let text = format!("cannot connect to port {port} in pod {pod}: {cause}");
            // A client that is gone does not need to know.
            let _ = error.write_all(text.as_bytes()).await;
            let _ = error.shutdown().await;
            let _ = data.shutdown().await;
            return;
        }
    };
    let (mut data_in, mut data_out) = tokio::io::split(&mut data);
    let (mut from, mut to) = target.split();
    let upward = async {
        let copied = tokio::io::copy(&mut data_in, &mut to).await;
        let _ = to.shutdown().await;
        copied
    };
    let downward = async {
        let copied = tokio::io::copy(&mut from, &mut data_out).await;
        let _ = data_out.shutdown().await;
        copied
    };
    let mut upward = std::pin::pin!(upward);
    let mut downward = std::pin::pin!(downward);
    tokio::select! {
        _ = &mut downward => {
            // An error or too long a rest: the pod does not read it either way.
            let _ = tokio::time::timeout(REST_TIME_MAX, upward).await;
        }
        up = &mut upward => {
            // A client that broke off wants no answer; one that has said all does.
            if up.is_ok() {
                let _ = downward.await;
            }
        }
    }
    let _ = error.shutdown().await;
}

/// Connects within a pod's network, where its own loopback addresses are.
async fn connect(netns: Option<PathBuf>, port: u16) -> io::Result<TcpStream> {
    let (sender, receiver) = oneshot::channel();
    // A thread of its own, which ends here: its namespace is not that of the others.
    std::thread::Builder::new().name("port-forward".to_owned()).spawn(move || {
        // Nobody waits any more if the client has left.
        let _ = sender.send(connect_within(netns.as_deref(), port));
    })?;
    let stream = receiver.await.map_err(|_| io::Error::other("the connecting thread broke"))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

fn connect_within(netns: Option<&Path>, port: u16) -> io::Result<std::net::TcpStream> {
    if let Some(netns) = netns {
        setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
    }
    let local = |address: IpAddr| {
        std::net::TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_TIME_MAX)
    };
    // Servers listen on either; what the first said is the better reason.
    local(Ipv4Addr::LOCALHOST.into()).or_else(|error| local(Ipv6Addr::LOCALHOST.into()).map_err(|_| error))
}
