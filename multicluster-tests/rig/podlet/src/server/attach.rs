//! `/attach`: the client's streams joined to a container that runs already.
//!
//! The container's shim hands on what it writes from now on, and takes what it shall read.

use hyper::body::Incoming;
use hyper::{Request, Response};
use spdy::{Connection, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;

use super::Node;
use super::answer::Body;
use super::channels::{self, Channels, Sizes};
use super::exec;
use super::route::{ContainerName, Streams};
use super::status::Ending;
use super::upgrade;
use crate::containers::Running;
use crate::shim::frame::{self, Frame};

/// How much is carried at a time.
const PIECE: usize = 16 * 1024;

/// Answers with an upgrade, and joins its streams to the container.
pub(crate) fn respond(
    request: Request<Incoming>,
    node: &Node,
    name: &ContainerName,
    streams: Streams,
    shutdown: CancellationToken,
) -> Response<Body> {
    let running = match exec::running(&node.pods, name) {
        Ok(running) => running,
        Err(refusal) => return *refusal,
    };
    let once = reads_once(node, name);
    // A container has a terminal or has none, whatever the client believes.
    let streams = Streams { tty: streams.tty && running.tty, ..streams };
    upgrade::respond(request, upgrade::REMOTE_COMMAND, shutdown, move |connection| {
        serve(connection, running, streams, once)
    })
}

/// Whether the container's input ends with the first client's.
fn reads_once(node: &Node, name: &ContainerName) -> bool {
    let Some(entry) = node.pods.get(&name.pod.namespace, &name.pod.pod) else { return false };
    let pod = entry.state().pod;
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .filter(|container| container.name == name.container)
        .any(|container| container.stdin_once == Some(true))
}

async fn serve(mut connection: Connection, container: Running, wanted: Streams, once: bool) {
    let Some(channels) = channels::gather(&mut connection, wanted).await else { return };
    let Channels { error, stdin, stdout, stderr, sizes } = channels;
    let shim = match UnixStream::connect(container.attach_socket()).await {
        Ok(shim) => shim,
        Err(cause) => {
            let message = format!("cannot attach to container {}: {cause}", container.id);
            return channels::conclude(error, &Ending::Failure(message)).await;
        }
    };
    let (from, to) = shim.into_split();
    let stdin = stdin.filter(|_| container.stdin);
    tokio::select! {
        () = carry_out(from, stdout, stderr) => channels::conclude(error, &Ending::Success).await,
        () = carry_in(to, stdin, sizes, once) => {}
        () = connection.ended() => {}
    }
}

/// Until the container has ended.
async fn carry_out(mut from: OwnedReadHalf, mut stdout: Option<Stream>, mut stderr: Option<Stream>) {
    while let Ok(Some(frame)) = frame::receive(&mut from).await {
        let (stream, bytes) = match frame {
            Frame::Stdout(bytes) => (&mut stdout, bytes),
            Frame::Stderr(bytes) => (&mut stderr, bytes),
            Frame::Stdin(_) | Frame::Resize { .. } => continue,
        };
        let lost = match stream {
            Some(open) => open.write_all(&bytes).await.is_err(),
            None => false,
        };
        if lost {
            *stream = None;
        }
    }
    for mut stream in [stdout, stderr].into_iter().flatten() {
        // A client that is gone misses nothing.
        let _ = stream.shutdown().await;
    }
}

/// Never ends: what it holds of the client's must stay as long as the client is attached.
async fn carry_in(mut to: OwnedWriteHalf, mut stdin: Option<Stream>, mut sizes: Option<Sizes>, once: bool) {
    let mut piece = vec![0; PIECE];
    let mut open = stdin.is_some();
    loop {
        let frame = tokio::select! {
            read = read(&mut stdin, &mut piece), if open => match read {
                0 => {
                    open = false;
                    if !once {
                        continue;
                    }
                    Frame::Stdin(Vec::new())
                }
                length => Frame::Stdin(piece[..length].to_vec()),
            },
            size = next(&mut sizes), if sizes.is_some() => match size {
                Some(size) => Frame::Resize { width: size.width, height: size.height },
                None => {
                    sizes = None;
                    continue;
                }
            },
            else => std::future::pending().await,
        };
        if frame::send(&mut to, &frame).await.is_err() {
            // The container has ended; that is seen where its output ends.
            std::future::pending::<()>().await;
        }
    }
}

/// How much was read; nothing more comes after 0.
async fn read(stdin: &mut Option<Stream>, piece: &mut [u8]) -> usize {
    match stdin {
        Some(stream) => stream.read(piece).await.unwrap_or(0),
        None => 0,
    }
}

async fn next(sizes: &mut Option<Sizes>) -> Option<channels::Size> {
    match sizes {
        Some(sizes) => sizes.next().await,
        None => None,
    }
}
