//! Those who are attached to a container.

use std::{fs::File, io::Write};

use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf, pipe},
    },
    sync::{broadcast, mpsc},
};

use super::{
    console,
    frame::{self, Frame},
};

/// How many may be attached at once.
const ATTACHED_MAX: usize = 16;

/// Where a container reads.
pub(super) enum Input {
    Pipe(pipe::Sender),
    Terminal(File),
}

/// Serves everyone who comes.
pub(super) async fn serve(
    listener: UnixListener,
    output: broadcast::Sender<Frame>,
    input: mpsc::Sender<Frame>,
    once: bool,
) {
    let mut attached = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while attached.try_join_next().is_some() {}
        if attached.len() < ATTACHED_MAX {
            attached.spawn(one(stream, output.subscribe(), input.clone(), once));
        }
    }
}

async fn one(stream: UnixStream, output: broadcast::Receiver<Frame>, input: mpsc::Sender<Frame>, once: bool) {
    let (read, write) = stream.into_split();
    let feeding = tokio::spawn(feed_from(read, input, once));
    show(write, output).await;
    feeding.abort();
}

async fn show(mut write: OwnedWriteHalf, mut output: broadcast::Receiver<Frame>) {
    // Who is too slow has lost something: better cut off than lied to.
    while let Ok(frame) = output.recv().await {
        if frame::send(&mut write, &frame).await.is_err() {
            return;
        }
    }
}

async fn feed_from(mut read: OwnedReadHalf, input: mpsc::Sender<Frame>, once: bool) {
    while let Ok(Some(frame)) = frame::receive(&mut read).await {
        let end = matches!(&frame, Frame::Stdin(bytes) if bytes.is_empty());
        if (!end || once) && input.send(frame).await.is_err() {
            return;
        }
    }
    if once {
        let _ = input.send(Frame::Stdin(Vec::new())).await;
    }
}

/// Gives the container what is sent to it.
pub(super) async fn feed(mut input: Option<Input>, mut frames: mpsc::Receiver<Frame>) {
    while let Some(frame) = frames.recv().await {
        match (&mut input, frame) {
            (Some(Input::Pipe(_)), Frame::Stdin(bytes)) if bytes.is_empty() => input = None,
            (Some(Input::Pipe(pipe)), Frame::Stdin(bytes)) => {
                let _ = pipe.write_all(&bytes).await;
            }
            (Some(Input::Terminal(master)), Frame::Stdin(bytes)) => {
                let _ = master.write_all(&bytes);
            }
            (Some(Input::Terminal(master)), Frame::Resize { width, height }) => {
                let _ = console::resize(master, width, height);
            }
            _ => {}
        }
    }
}
