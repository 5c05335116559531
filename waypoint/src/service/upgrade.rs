//! Protocols that take a connection over (WebSocket): after both ends switched, bytes are relayed.

use std::time::Duration;

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
        let mut moved = Moved::default();
        let end = tokio::select! {
            relayed = carry(caller, upstream, idle, &mut moved) => match relayed {
                Ok(()) => End::Complete,
                Err(error) => End::Broken(exchange::BodyError::Cut(error.to_string())),
            },
            denial = closing.closed() => End::Closed(denial),
        };
        finish.moved(moved.sent, moved.received);
        finish.end(&end, None);
    });
    response
}

#[derive(Debug, Default)]
struct Moved {
    sent: u64,
    received: u64,
}

/// Carries bytes both ways until both directions have ended, or nothing moved for too long.
async fn carry<A, B>(caller: A, upstream: B, idle: Duration, moved: &mut Moved) -> std::io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_caller, mut to_caller) = tokio::io::split(caller);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
    let mut up = vec![0; CHUNK_BYTES];
    let mut down = vec![0; CHUNK_BYTES];
    let (mut up_open, mut down_open) = (true, true);
    while up_open || down_open {
        tokio::select! {
            read = from_caller.read(&mut up), if up_open => {
                let count = read?;
                moved.received += count as u64;
                up_open = pass(&up[..count], &mut to_upstream).await?;
            }
            read = from_upstream.read(&mut down), if down_open => {
                let count = read?;
                moved.sent += count as u64;
                down_open = pass(&down[..count], &mut to_caller).await?;
            }
            () = tokio::time::sleep(idle) => {
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "nothing moved"));
            }
        }
    }
    Ok(())
}

async fn pass(bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<bool> {
    if bytes.is_empty() {
        to.shutdown().await?;
        return Ok(false);
    }
    to.write_all(bytes).await?;
    to.flush().await?;
    Ok(true)
}
