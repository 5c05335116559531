//! Speaks HTTP on a stream that arrived: HTTP/1.1, HTTP/2 known beforehand, upgrades.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Sleep,
};

use crate::{
    causes::body_error,
    entrance::{Entered, Front},
    service,
    waypoint::Waypoint,
};

/// Bytes by which HTTP/2 is told from HTTP/1 (its preface).
const PREFACE_BYTES: usize = 24;
/// How long the end of a stream waits for the other end.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How many bytes that nobody wants are read meanwhile.
const LINGER_BYTES_MAX: usize = 1 << 20;
/// Resets by the caller that may be pending before the connection is closed (rapid reset).
const RESETS_MAX: usize = 20;

/// Serves requests on a stream until it ends or `draining` resolves and what runs has ended.
pub async fn serve<S>(
    waypoint: Arc<Waypoint>,
    entered: Arc<Entered>,
    front: Arc<Front>,
    stream: S,
    draining: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = waypoint.limits.clone();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.max(8192))
        .max_headers(crate::facts::HEADERS_MAX)
        .keep_alive(true)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.requests)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MAX)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = service_fn(move |request| {
        service::serve(Arc::clone(&waypoint), Arc::clone(&entered), Arc::clone(&front), request)
    });
    let cut = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Prompt::new(stream, limits.head_timeout, Arc::clone(&cut)));
    let connection = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(connection);
    tokio::pin!(draining);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = &mut draining => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended");
        // An answer that broke off must not look whole to whoever takes the end of the stream for its end.
        cut.store(body_error(&*error).is_some(), Ordering::Relaxed);
    }
}

/// A stream whose first bytes must come in time, since until then nobody knows which protocol counts the time; and
/// that ends gently: what was written is read by the other end before it learns that nobody reads any more.
struct Prompt<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    // Always there, until it is dropped.
    stream: Option<S>,
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
    cut: Arc<AtomicBool>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Prompt<S> {
    fn new(stream: S, within: Duration, cut: Arc<AtomicBool>) -> Self {
        let until = Some(Box::pin(tokio::time::sleep(within)));
        Self { stream: Some(stream), left: PREFACE_BYTES, until, cut }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Prompt<S> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take()
            && !self.cut.load(Ordering::Relaxed)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(linger(stream));
        }
    }
}

/// Finishes a stream and reads what still comes, for a while. A reset at once could overtake the last answer.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let gently = async {
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(LINGER_TIME_MAX, gently).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = this.stream()?.poll_read(context, buffer);
        if let Some(until) = &mut this.until {
            match &polled {
                Poll::Ready(_) => {
                    this.left = this.left.saturating_sub(buffer.filled().len() - before);
                    if this.left == 0 {
                        this.until = None;
                    }
                }
                Poll::Pending if until.as_mut().poll(context).is_ready() => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came")));
                }
                Poll::Pending => {}
            }
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }
}
