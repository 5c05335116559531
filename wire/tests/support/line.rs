//! Connections in memory that a test can cut.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, copy_bidirectional, duplex},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri, server::Connected, server::Router};
use wire::export::Peer;

/// A way to a server, which can come, go and be cut.
#[derive(Clone, Default)]
pub struct Line {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    server: Option<(mpsc::UnboundedSender<io::Result<End>>, JoinHandle<()>)>,
    relays: Vec<JoinHandle<()>>,
    peer: Option<mesh::Identity>,
}

impl Line {
    /// A line whose client proves this identity.
    pub fn of(peer: Option<&str>) -> Self {
        let line = Self::default();
        line.inner.lock().peer = peer.map(|text| text.parse().unwrap());
        line
    }

    /// A server at the other end.
    pub fn serve(&self, router: Router) {
        let (sender, incoming) = mpsc::unbounded_channel();
        let incoming = UnboundedReceiverStream::new(incoming);
        let serving = tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        self.inner.lock().server = Some((sender, serving));
    }

    /// The server is gone, and all connections with it.
    pub fn stop(&self) {
        self.cut();
        if let Some((_, serving)) = self.inner.lock().server.take() {
            serving.abort();
        }
    }

    /// All connections end here and now.
    pub fn cut(&self) {
        self.inner.lock().relays.drain(..).for_each(|relay| relay.abort());
    }

    pub fn channel(&self) -> Channel {
        let line = self.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let connected = line.connect();
            async move { connected.map(TokioIo::new) }
        });
        Endpoint::from_static("http://control-plane").connect_with_connector_lazy(connector)
    }

    fn connect(&self) -> io::Result<DuplexStream> {
        let inner = &mut *self.inner.lock();
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let (server, _) = inner.server.as_ref().ok_or_else(refused)?;
        let (client, mut near) = duplex(64 << 10);
        let (mut far, end) = duplex(64 << 10);
        server.send(Ok(End { stream: end, peer: inner.peer.clone() })).map_err(|_| refused())?;
        inner.relays.push(tokio::spawn(async move {
            let _ = copy_bidirectional(&mut near, &mut far).await;
        }));
        Ok(client)
    }
}

/// The server's end.
pub struct End {
    stream: DuplexStream,
    peer: Option<mesh::Identity>,
}

impl Connected for End {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(self.peer.clone())
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
