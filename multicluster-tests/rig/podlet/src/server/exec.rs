//! `/exec`: a command in a container, with the client's streams.

use hyper::body::Incoming;
use hyper::{Request, Response};
use spdy::{Connection, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::Node;
use super::answer::{self, Body};
use super::channels::{self, Channels, Sizes};
use super::route::{ContainerName, PodName, Streams};
use super::status::Ending;
use super::upgrade;
use crate::containers::Running;
use crate::process::{Ends, Process};
use crate::registry::{PodEntry, Pods};
use crate::runc::Runc;
use crate::terminal::Terminal;

/// How much is carried at a time.
const PIECE: usize = 16 * 1024;

/// Answers with an upgrade, and runs the command over it.
pub(crate) fn respond(
    request: Request<Incoming>,
    node: Node,
    name: &ContainerName,
    command: Vec<String>,
    streams: Streams,
    shutdown: CancellationToken,
) -> Response<Body> {
    let running = match running(&node.pods, name) {
        Ok(running) => running,
        Err(refusal) => return *refusal,
    };
    upgrade::respond(request, upgrade::REMOTE_COMMAND, shutdown, move |connection| {
        serve(connection, node.runc, running, command, streams)
    })
}

/// The container of a name, if it runs.
pub(crate) fn running(pods: &Pods, name: &ContainerName) -> Result<Running, Box<Response<Body>>> {
    let entry = pod(pods, &name.pod)?;
    let (pod, container) = (&name.pod.pod, &name.container);
    let Some(state) = entry.container(container) else {
        return Err(refusal(format!("container {container:?} is not one of pod {pod:?}\n")));
    };
    state.running.ok_or_else(|| refusal(format!("container {container:?} of pod {pod:?} does not run\n")))
}

/// The pod of a name.
pub(crate) fn pod(pods: &Pods, name: &PodName) -> Result<std::sync::Arc<PodEntry>, Box<Response<Body>>> {
    let PodName { namespace, pod, uid } = name;
    let entry = pods.get(namespace, pod);
    let meant = entry.filter(|entry| uid.as_ref().is_none_or(|uid| *uid == entry.uid));
    meant.ok_or_else(|| refusal(format!("pod {namespace}/{pod} is not on this node\n")))
}

/// The answer to who asks for what is not here.
fn refusal(text: String) -> Box<Response<Body>> {
    Box::new(answer::text(404, text))
}

async fn serve(
    mut connection: Connection,
    runc: Runc,
    container: Running,
    argv: Vec<String>,
    wanted: Streams,
) {
    let Some(channels) = channels::gather(&mut connection, wanted).await else { return };
    let Channels { error, stdin, stdout, stderr, sizes } = channels;
    let started = Process::start(&runc, &container, &argv, wanted.tty, stdin.is_some());
    let (mut process, ends) = match started {
        Ok(started) => started,
        Err(cause) => {
            return channels::conclude(error, &Ending::Failure(format!("cannot run runc: {cause}"))).await;
        }
    };
    let carried = async {
        match ends {
            Ends::Pipes { stdin: to, stdout: out, stderr: err } => {
                let input = carry_in(stdin, to);
                let outputs = async { tokio::join!(carry_out(out, stdout), carry_out(err, stderr)) };
                beside(input, outputs).await;
            }
            Ends::Terminal(terminal) => {
                let input = carry_in(stdin, Some(terminal.clone()));
                let sizes = resize(sizes, terminal.clone());
                beside(async { tokio::join!(input, sizes) }, carry_out(Some(terminal), stdout)).await;
            }
        }
        process.wait().await
    };
    let ended = tokio::select! {
        ended = carried => Some(ended),
        () = connection.ended() => None,
    };
    match ended {
        Some(ended) => channels::conclude(error, &ending(ended, process.began(), &argv)).await,
        None => process.kill().await,
    }
}

/// How it is to be told.
fn ending(ended: std::io::Result<Option<i32>>, began: bool, argv: &[String]) -> Ending {
    match ended {
        Ok(Some(0)) => Ending::Success,
        Ok(Some(code)) if began => Ending::Code(code),
        Ok(None) => Ending::Failure("the command was killed".to_owned()),
        Ok(Some(_)) => Ending::Failure(format!(
            "cannot start {:?} in the container: runc says why on the error output",
            argv.first().map_or("", String::as_str)
        )),
        Err(cause) => Ending::Failure(format!("cannot wait for runc: {cause}")),
    }
}

/// Runs `aside` as long as `main` takes. What comes in never ends on its own.
async fn beside(aside: impl Future, main: impl Future) {
    tokio::select! {
        _ = main => {}
        _ = async {
            aside.await;
            std::future::pending::<()>().await;
        } => {}
    }
}

/// Carries the client's bytes to the command; at their end the command's input ends too.
async fn carry_in(from: Option<Stream>, to: Option<impl tokio::io::AsyncWrite + Unpin>) {
    if let (Some(mut from), Some(mut to)) = (from, to) {
        // The command may stop reading, and the client may leave: both are an end.
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
        drop(to);
        // The stream stays until the command has ended, since dropping it resets it.
        std::future::pending::<()>().await;
    }
}

/// Carries what the command writes to the client, until both the command's end and its end.
async fn carry_out(from: Option<impl AsyncRead + Unpin>, to: Option<Stream>) {
    let Some(mut from) = from else { return };
    let mut to = to;
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        // Without a reader the command still must not wait; what it says is lost.
        let lost = match &mut to {
            Some(stream) => stream.write_all(&piece[..length]).await.is_err(),
            None => false,
        };
        if lost {
            to = None;
        }
    }
    if let Some(mut stream) = to {
        // A client that is gone misses nothing.
        let _ = stream.shutdown().await;
    }
}

async fn resize(sizes: Option<Sizes>, terminal: Terminal) {
    let Some(mut sizes) = sizes else { return };
    while let Some(size) = sizes.next().await {
        if let Err(error) = terminal.resize(size.width, size.height) {
            tracing::debug!(%error, "a terminal could not be resized");
        }
    }
}
