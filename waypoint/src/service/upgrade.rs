//! Protocols that take a connection over (WebSocket): after both ends switched, bytes are relayed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use exchange::{End, Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::watched::Finish;

/// Bytes that are read at once from one side.
const CHUNK_BYTES: usize = 16 * 1024;

/// Takes what the server side of the request can become.
pub(super) fn taken(request: &mut Request) -> Option<OnUpgrade> {
    request.extensions_mut().remove::<OnUpgrade>()
}

/// Answers 101, and relays once both sides have switched.
pub(super) fn relay(
    mut response: Response,
    caller: Option<OnUpgrade>,
    mut finish: Finish,
    idle: Duration,
) -> Response {
    finish.answered(&response);
    let upstream = response.extensions_mut().remove::<OnUpgrade>();
    let (Some(caller), Some(upstream)) = (caller, upstream) else {
        finish.end(
            &End::Broken(exchange::BodyError::Malformed("an upgrade that was not asked for".into())),
            None,
        );
        *response.status_mut() = http::StatusCode::BAD_GATEWAY;
        return response;
    };
    tokio::spawn(async move {
        let both = async { tokio::try_join!(caller, upstream) };
        let Ok((caller, upstream)) = both.await else { return };
        let closing = finish.closing().clone();
        let (caller, upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
        let moved = Moved::default();
        let end = tokio::select! {
            relayed = carry(caller, upstream, idle, &moved) => match relayed {
                Ok(()) => End::Complete,
                Err(error) => End::Broken(exchange::BodyError::Cut(error.to_string())),
            },
            denial = closing.closed() => End::Closed(denial),
        };
        let (sent, received) = moved.now();
        finish.moved(sent, received);
        finish.end(&end, None);
    });
    response
}

/// Bytes that were relayed.
#[derive(Debug, Default)]
struct Moved {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Moved {
    fn now(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// Carries bytes both ways until both directions have ended, or nothing moved for too long. Neither direction waits
/// for the other: an application that answers while it is sent to would else stand still with us.
async fn carry<A, B>(caller: A, upstream: B, idle: Duration, moved: &Moved) -> std::io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (from_caller, to_caller) = tokio::io::split(caller);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let up = pass(from_caller, to_upstream, &moved.received);
    let down = pass(from_upstream, to_caller, &moved.sent);
    let both = async { tokio::try_join!(up, down) };
    tokio::pin!(both);
    loop {
        let before = moved.now();
        match tokio::time::timeout(idle, both.as_mut()).await {
            Ok(ended) => return ended.map(|((), ())| ()),
            Err(_) if moved.now() == before => {
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "nothing moved"));
            }
            Err(_) => {}
        }
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..count]).await?;
        to.flush().await?;
        moved.fetch_add(count as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn directions_do_not_wait_for_each_other() {
        const BYTES: usize = 1 << 20;
        let (application, caller) = tokio::io::duplex(1024);
        let (upstream, server) = tokio::io::duplex(1024);
        let (mut heard, mut answers) = tokio::io::split(server);
        let echo = async { tokio::io::copy(&mut heard, &mut answers).await.map(|_| answers) };
        let (mut from, mut to) = tokio::io::split(application);
        let asks = async {
            to.write_all(&vec![7; BYTES]).await?;
            to.shutdown().await
        };
        let listens = async {
            let mut all = vec![0; BYTES];
            from.read_exact(&mut all).await.map(|_| all)
        };
        let moved = Moved::default();
        let work = async { tokio::try_join!(asks, listens, echo) };
        tokio::select! {
            done = work => assert!(done.is_ok()),
            ended = carry(caller, upstream, IDLE, &moved) => panic!("it ended: {ended:?}"),
        }
        assert_eq!(moved.received.load(Ordering::Relaxed), BYTES as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_still_ends_also_while_bytes_wait_to_be_taken() {
        let (mut application, caller) = tokio::io::duplex(1024);
        let (upstream, _server) = tokio::io::duplex(16);
        application.write_all(&[7; 64]).await.unwrap();
        let ended = carry(caller, upstream, IDLE, &Moved::default()).await;
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    }
}
