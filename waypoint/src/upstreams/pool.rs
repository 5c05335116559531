//! Keeps HTTP connections to endpoints, each for one caller: `x-strait-origin` is said once for a stream, so bytes
//! of two callers never share one.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use exchange::{Body, BodyError, Request, Response};
use http_body::Frame;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh::{Denial, Peer, names::WorkloadUid, resource::ExternalHost};
use parking_lot::Mutex;
use runtime::spans::Link;
use tokio::io::{AsyncRead, AsyncWrite};
use transport::{DialError, hbone::Origin};

use super::{dial::Way, headers, speaks::Speaks};
use crate::causes::{body_error, with_causes};

/// Bounds of the pool.
#[derive(Debug, Clone)]
pub struct Config {
    /// Idle HTTP/1.1 connections with one key.
    pub idle_per_key: usize,
    /// Idle connections in all.
    pub idle: usize,
    /// For how long a connection is kept idle.
    pub idle_timeout: Duration,
    /// Bytes of an answer's head.
    pub head_bytes: usize,
    /// Header fields of an answer.
    pub headers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_per_key: 32,
            idle: 1024,
            idle_timeout: Duration::from_secs(60),
            head_bytes: 64 * 1024,
            headers: 128,
        }
    }
}

/// Time that a connection has to become ready for another request after an answer ended.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(1);

/// What connections with one key share: where they lead, how they speak, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    to: To,
    speaks: Speaks,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum To {
    // Into the mesh, for one caller.
    Endpoint {
        endpoint: WorkloadUid,
        authority: String,
        caller: Peer,
        source_address: Option<IpAddr>,
        origin: Option<Origin>,
    },
    // Outside, where nobody is told who calls: what is shown there is shown with each request.
    Host(ExternalHost),
}

/// A connection that was opened.
#[derive(Debug)]
pub struct Opened<S> {
    /// Its bytes.
    pub stream: S,
    /// What is spoken on it, and never [`Speaks::Either`].
    pub speaks: Speaks,
    /// The span of the connection, if it has one.
    pub carrier: Option<Link>,
}

/// Why none was opened.
#[derive(Debug)]
pub enum Unopened {
    /// Nobody was reached.
    Failed(DialError),
    /// It must not be.
    Refused(Denial),
}

impl From<DialError> for Unopened {
    fn from(error: DialError) -> Self {
        Self::Failed(error)
    }
}

impl Key {
    /// The key of a connection along a way for a caller.
    pub fn of(way: &Way, speaks: Speaks, caller: &Peer) -> Self {
        let to = To::Endpoint {
            endpoint: way.chosen.workload.uid.clone(),
            authority: way.authority.to_string(),
            caller: caller.clone(),
            source_address: way.source_address,
            origin: way.origin.clone(),
        };
        Self { to, speaks }
    }

    /// The key of a connection to a host outside the mesh.
    pub fn outside(host: &ExternalHost, speaks: Speaks) -> Self {
        Self { to: To::Host(host.clone()), speaks }
    }

    /// Brings a request into the form of what is spoken on the connection that was found for it.
    fn shape(&self, request: &mut Request, speaks: Speaks) {
        // Into the mesh it is known beforehand.
        if let To::Host(host) = &self.to {
            headers::shape(request, speaks, host.tls.is_some());
        }
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Tried {
    /// It was answered.
    Answered(Response),
    /// No connection could be opened.
    Unconnected(Request, Unopened),
    /// A connection ended before any of it was sent.
    Unsent(Request),
    /// The connection broke after some of it was sent.
    Broken {
        /// The connection had carried others before.
        reused: bool,
        /// What happened.
        text: String,
        /// It was the request's own body that broke.
        body: Option<BodyError>,
    },
}

/// The connections. Clones are the same.
#[derive(Debug, Clone)]
pub struct HttpPool {
    config: Arc<Config>,
    kept: Arc<Mutex<Kept>>,
}

/// A connection, and since when it is not used.
type Idle<S> = (Line<S>, Instant);

#[derive(Debug, Default)]
struct Kept {
    http1: HashMap<Key, Vec<Idle<http1::SendRequest<Body>>>>,
    http2: HashMap<Key, Idle<http2::SendRequest<Body>>>,
    // Grows when everything is dropped, so that what comes back afterwards is not kept.
    generation: u64,
}

enum Connection {
    Http1(Line<http1::SendRequest<Body>>),
    Http2(Line<http2::SendRequest<Body>>),
}

/// Sends requests on one connection, and knows its span.
#[derive(Debug, Clone)]
struct Line<S> {
    sender: S,
    carrier: Option<Link>,
}

impl<S> Line<S> {
    /// The answer knows which connection carried it.
    fn noted<B>(&self, mut response: http::Response<B>) -> http::Response<B> {
        if let Some(carrier) = self.carrier {
            response.extensions_mut().insert(carrier);
        }
        response
    }
}

impl Connection {
    fn speaks(&self) -> Speaks {
        match self {
            Self::Http1(_) => Speaks::Http1,
            Self::Http2(_) => Speaks::Http2,
        }
    }
}

impl Kept {
    fn http1(&mut self, key: &Key, idle_timeout: Duration) -> Option<Connection> {
        let list = self.http1.get_mut(key)?;
        while let Some((line, since)) = list.pop() {
            if line.sender.is_ready() && since.elapsed() < idle_timeout {
                return Some(Connection::Http1(line));
            }
        }
        self.http1.remove(key);
        None
    }

    fn http2(&mut self, key: &Key) -> Option<Connection> {
        let (line, used) = self.http2.get_mut(key)?;
        if line.sender.is_closed() {
            self.http2.remove(key);
            return None;
        }
        *used = Instant::now();
        Some(Connection::Http2(line.clone()))
    }
}

impl HttpPool {
    /// An empty pool.
    pub fn new(config: Config) -> Self {
        Self { config: Arc::new(config), kept: Arc::default() }
    }

    /// Sends a request on a kept connection, or on the one that `open` opens.
    pub async fn send<F, S>(&self, key: &Key, request: Request, open: F) -> Tried
    where
        F: Future<Output = Result<Opened<S>, Unopened>>,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let generation = self.kept.lock().generation;
        let mut request = request;
        // A kept connection may end the moment it is used; then the next is taken, and none is used twice.
        while let Some(connection) = self.take(key) {
            match self.send_on(key, connection, request, generation, true).await {
                Tried::Unsent(back) => request = back,
                tried => return tried,
            }
        }
        let opened = match open.await {
            Ok(opened) => opened,
            Err(error) => return Tried::Unconnected(request, error),
        };
        match self.begin(key, opened, generation).await {
            Ok(connection) => self.send_on(key, connection, request, generation, false).await,
            Err(error) => Tried::Broken { reused: false, text: with_causes(&error), body: None },
        }
    }

    /// Drops every connection that is kept; those in use are not kept afterwards.
    pub fn clear(&self) {
        let mut kept = self.kept.lock();
        kept.http1.clear();
        kept.http2.clear();
        kept.generation += 1;
    }

    /// Drops what was idle for too long.
    pub fn sweep(&self) {
        let Some(oldest) = Instant::now().checked_sub(self.config.idle_timeout) else { return };
        let mut kept = self.kept.lock();
        for list in kept.http1.values_mut() {
            list.retain(|(line, since)| *since > oldest && !line.sender.is_closed());
        }
        kept.http1.retain(|_, list| !list.is_empty());
        kept.http2.retain(|_, (line, since)| *since > oldest && !line.sender.is_closed());
    }

    /// Connections that are kept.
    pub fn len(&self) -> usize {
        let kept = self.kept.lock();
        kept.http1.values().map(Vec::len).sum::<usize>() + kept.http2.len()
    }

    /// True if none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn take(&self, key: &Key) -> Option<Connection> {
        let mut kept = self.kept.lock();
        match key.speaks {
            Speaks::Http1 => kept.http1(key, self.config.idle_timeout),
            Speaks::Http2 => kept.http2(key),
            Speaks::Either => kept.http2(key).or_else(|| kept.http1(key, self.config.idle_timeout)),
        }
    }

    async fn begin<S>(
        &self,
        key: &Key,
        opened: Opened<S>,
        generation: u64,
    ) -> Result<Connection, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, carrier) = (TokioIo::new(opened.stream), opened.carrier);
        match opened.speaks {
            Speaks::Http1 | Speaks::Either => {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(self.config.head_bytes.max(8192)).max_headers(self.config.headers);
                let (sender, connection) = builder.handshake::<_, Body>(io).await?;
                tokio::spawn(connection.with_upgrades());
                Ok(Connection::Http1(Line { sender, carrier }))
            }
            Speaks::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .keep_alive_interval(Some(Duration::from_secs(20)))
                    .keep_alive_timeout(Duration::from_secs(20))
                    .max_header_list_size(u32::try_from(self.config.head_bytes).unwrap_or(u32::MAX));
                let (sender, connection) = builder.handshake::<_, Body>(io).await?;
                tokio::spawn(connection);
                let line = Line { sender, carrier };
                let mut kept = self.kept.lock();
                if kept.generation == generation && kept.http2.len() < self.config.idle {
                    kept.http2.insert(key.clone(), (line.clone(), Instant::now()));
                }
                Ok(Connection::Http2(line))
            }
        }
    }

    async fn send_on(
        &self,
        key: &Key,
        connection: Connection,
        mut request: Request,
        generation: u64,
        reused: bool,
    ) -> Tried {
        key.shape(&mut request, connection.speaks());
        match connection {
            Connection::Http1(mut line) => {
                if line.sender.ready().await.is_err() {
                    return Tried::Unsent(request);
                }
                match line.sender.try_send_request(request).await {
                    Ok(response) => {
                        let response = line.noted(response);
                        Tried::Answered(self.answered(key, response, line, generation))
                    }
                    Err(mut error) => match error.take_message() {
                        Some(request) => Tried::Unsent(request),
                        None => broken(reused, &error.into_error()),
                    },
                }
            }
            Connection::Http2(mut line) => {
                if line.sender.ready().await.is_err() {
                    self.kept.lock().http2.remove(key);
                    return Tried::Unsent(request);
                }
                match line.sender.try_send_request(request).await {
                    Ok(response) => Tried::Answered(line.noted(response).map(Body::streamed)),
                    Err(mut error) => match error.take_message() {
                        Some(request) => {
                            self.kept.lock().http2.remove(key);
                            Tried::Unsent(request)
                        }
                        None => broken(reused, &error.into_error()),
                    },
                }
            }
        }
    }

    fn answered(
        &self,
        key: &Key,
        response: http::Response<hyper::body::Incoming>,
        line: Line<http1::SendRequest<Body>>,
        generation: u64,
    ) -> Response {
        if response.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            // The connection is the application's now.
            return response.map(|_| Body::empty());
        }
        let back = Back { pool: self.clone(), key: key.clone(), line, generation };
        let (parts, body) = response.into_parts();
        let body = Body::streamed(body);
        if body.is_empty() {
            back.return_when_ready();
            return Response::from_parts(parts, body);
        }
        Response::from_parts(parts, Body::piped(Lent { body, back: Some(back) }))
    }

    fn put(&self, key: Key, line: Line<http1::SendRequest<Body>>, generation: u64) {
        let mut kept = self.kept.lock();
        let all: usize = kept.http1.values().map(Vec::len).sum();
        if kept.generation != generation || all >= self.config.idle || line.sender.is_closed() {
            return;
        }
        let list = kept.http1.entry(key).or_default();
        if list.len() < self.config.idle_per_key {
            list.push((line, Instant::now()));
        }
    }
}

fn broken(reused: bool, error: &hyper::Error) -> Tried {
    Tried::Broken { reused, text: with_causes(error), body: body_error(error) }
}

/// A connection on its way back.
struct Back {
    pool: HttpPool,
    key: Key,
    line: Line<http1::SendRequest<Body>>,
    generation: u64,
}

impl Back {
    fn return_when_ready(self) {
        let Self { pool, key, mut line, generation } = self;
        if line.sender.is_ready() {
            pool.put(key, line, generation);
            return;
        }
        tokio::spawn(async move {
            if let Ok(Ok(())) = tokio::time::timeout(SETTLE_TIME_MAX, line.sender.ready()).await {
                pool.put(key, line, generation);
            }
        });
    }
}

/// An answer whose connection comes back when it has ended. One that is dropped before takes the connection along.
struct Lent {
    body: Body,
    back: Option<Back>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let over = match &polled {
            Poll::Ready(None) => true,
            // Whoever knows the length asks no further.
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) => {
                self.back = None;
                false
            }
            Poll::Pending => false,
        };
        if over && let Some(back) = self.back.take() {
            back.return_when_ready();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
