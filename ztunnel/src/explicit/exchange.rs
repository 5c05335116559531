//! One HTTP exchange through the proxy: the head, exactly its body, and the answer.
//!
//! What a client sends behind the body is not passed on: it may be a next request, with its token, and this
//! connection leads to one destination.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use transport::{
    Relayed, Stream,
    relay::{End, Side},
    stream::{Reader, Writer},
};

use super::body::Body;
use crate::{node::Node, outbound::Made};

/// Runs the exchange and reports it.
pub(super) async fn run(node: &Node, made: Made, application: Stream, head: Vec<u8>, body: Body) {
    let (destination, guard, record) = made.into_parts();
    let (requests, mut answers) = application.split();
    let (from_there, mut to_there) = destination.split();
    let counts = guard.counts.clone();
    let end = tokio::select! {
        biased;
        () = guard.closed().cancelled() => End::Cancelled,
        end = async {
            let forth = forth(requests, &mut to_there, head.into(), body, &counts.sent);
            let back = back(from_there, &mut answers, &counts.received);
            tokio::pin!(forth, back);
            tokio::select! {
                end = &mut back => end,
                end = &mut forth => end,
            }
        } => end,
    };
    if !matches!(end, End::Finished) {
        to_there.reset();
        answers.reset();
    }
    let relayed = Relayed { sent: counts.sent.load(Relaxed), received: counts.received.load(Relaxed), end };
    node.finish(&guard, record, &relayed);
}

/// Sends the request. It ends only when something fails: the exchange ends with the answer.
async fn forth(mut from: Reader, to: &mut Writer, head: Bytes, mut body: Body, count: &AtomicU64) -> End {
    let mut next = head;
    loop {
        let length = next.len() as u64;
        if let Err(cause) = to.write_chunks(&mut [next].into()).await {
            return End::Failed { side: Side::Second, cause };
        }
        count.fetch_add(length, Relaxed);
        next = loop {
            match from.read_chunk().await {
                Ok(Some(chunk)) => match body.take(&chunk) {
                    Ok(0) => {}
                    Ok(used) => break chunk.slice(..used),
                    Err(cause) => return failed(io::Error::new(io::ErrorKind::InvalidData, cause)),
                },
                // Who has said all may wait for the answer without saying more.
                Ok(None) if body.is_done() => std::future::pending().await,
                Ok(None) => return failed(io::ErrorKind::UnexpectedEof.into()),
                Err(cause) => return failed(cause),
            }
        };
    }
}

fn failed(cause: io::Error) -> End {
    End::Failed { side: Side::First, cause }
}

/// Passes the answer on, to its end.
async fn back(mut from: Reader, to: &mut Writer, count: &AtomicU64) -> End {
    loop {
        match from.read_chunk().await {
            Ok(Some(chunk)) => {
                let length = chunk.len() as u64;
                if let Err(cause) = to.write_chunks(&mut [chunk].into()).await {
                    return failed(cause);
                }
                count.fetch_add(length, Relaxed);
            }
            Ok(None) => {
                return match to.finish() {
                    Ok(()) => End::Finished,
                    Err(cause) => failed(cause),
                };
            }
            Err(cause) => return End::Failed { side: Side::Second, cause },
        }
    }
}
