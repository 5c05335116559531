//! Speaks HTTP on a stream that arrived: HTTP/1.1, HTTP/2 known beforehand, upgrades.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{
    entrance::{Entered, ServicePort},
    service,
    waypoint::Waypoint,
};

/// Bytes by which HTTP/2 is told from HTTP/1 (its preface).
const PREFACE_BYTES: usize = 24;
/// Resets by the caller that may be pending before the connection is closed (rapid reset).
const RESETS_MAX: usize = 20;

/// Serves requests on a stream until it ends or `draining` resolves and what runs has ended.
pub async fn serve<S>(
    waypoint: Arc<Waypoint>,
    entered: Arc<Entered>,
    addressed: Arc<ServicePort>,
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
        service::serve(Arc::clone(&waypoint), Arc::clone(&entered), Arc::clone(&addressed), request)
    });
    let io = TokioIo::new(Prompt::new(stream, limits.head_timeout));
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
    }
}

/// A stream whose first bytes must come in time: until then nobody knows which protocol counts the time.
struct Prompt<S> {
    stream: S,
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Prompt<S> {
    fn new(stream: S, within: Duration) -> Self {
        Self { stream, left: PREFACE_BYTES, until: Some(Box::pin(tokio::time::sleep(within))) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
