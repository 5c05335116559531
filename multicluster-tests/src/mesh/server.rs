//! Applications: what listens on the socket where a workload is delivered.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// How often an endless answer says something.
const TICK: Duration = Duration::from_millis(20);

/// What an application answers with.
pub type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A running application. It is gone when this is dropped, and so are its connections.
#[derive(Debug)]
pub struct Server {
    requests: Arc<Mutex<Vec<Request<Bytes>>>>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Serves HTTP/1.1 and keeps what was asked.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn http(
        at: &Path,
        handle: impl Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let handle = Arc::new(handle);
        Self::start(at, move |socket, requests| {
            let handle = Arc::clone(&handle);
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (handle, requests) = (Arc::clone(&handle), Arc::clone(&requests));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        let request = Request::from_parts(head, body);
                        let answer = handle(&request);
                        requests.lock().push(request);
                        Ok::<_, hyper::Error>(answer)
                    }
                });
                // A caller that leaves in the middle is no fault of the application.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            }
        })
    }

    /// Says its name, the path, and who called, as the mesh told it. At `/endless` it says so again and again.
    ///
    /// # Errors
    /// As [`Server::http`].
    pub fn web(at: &Path, name: &str) -> anyhow::Result<Self> {
        let name = name.to_owned();
        Self::http(at, move |request| {
            let said = format!("{name} {} for {}", request.uri().path(), caller(request));
            if request.uri().path() == "/endless" { endless(said) } else { text(said) }
        })
    }

    /// Sends back what it gets, byte for byte. Each connection that reaches it is kept as a request without head.
    ///
    /// # Errors
    /// As [`Server::http`].
    pub fn echo(at: &Path) -> anyhow::Result<Self> {
        Self::start(at, |mut socket, requests| async move {
            requests.lock().push(Request::new(Bytes::new()));
            let mut buffer = vec![0; 4096];
            while let Ok(read @ 1..) = socket.read(&mut buffer).await {
                if socket.write_all(&buffer[..read]).await.is_err() {
                    break;
                }
            }
        })
    }

    fn start<F>(
        at: &Path,
        serve: impl Fn(UnixStream, Arc<Mutex<Vec<Request<Bytes>>>>) -> F + Send + 'static,
    ) -> anyhow::Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if at.exists() {
            std::fs::remove_file(at)?;
        }
        let listener = UnixListener::bind(at)?;
        let requests: Arc<Mutex<Vec<Request<Bytes>>>> = Arc::default();
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let accepting = tokio::spawn({
            let (requests, connections) = (Arc::clone(&requests), Arc::clone(&connections));
            async move {
                while let Ok((socket, _)) = listener.accept().await {
                    let task = tokio::spawn(serve(socket, Arc::clone(&requests)));
                    let mut connections = connections.lock();
                    connections.retain(|connection| !connection.is_finished());
                    connections.push(task);
                }
            }
        });
        Ok(Self { requests, connections, accepting })
    }

    /// What it was asked so far (for [`Server::echo`], one for each connection).
    pub fn asked(&self) -> Vec<Request<Bytes>> {
        self.requests.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        for connection in self.connections.lock().iter() {
            connection.abort();
        }
    }
}

/// An answer of text.
pub fn text(text: impl Into<Bytes>) -> Answer {
    whole(StatusCode::OK, "text/plain", text)
}

/// An answer that repeats a text until its caller leaves.
pub fn endless(text: impl Into<Bytes>) -> Answer {
    let text = text.into();
    let ticks = stream::unfold((), move |()| {
        let text = text.clone();
        async move {
            tokio::time::sleep(TICK).await;
            Some((Ok::<_, Infallible>(Frame::data(text)), ()))
        }
    });
    Response::new(BoxBody::new(StreamBody::new(ticks)))
}

/// An answer with a whole body.
pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// The SPIFFE identity of the caller, from the header that only the mesh can set.
pub fn caller(request: &Request<Bytes>) -> String {
    let header = request.headers().get("x-forwarded-client-cert").and_then(|value| value.to_str().ok());
    let field = header.and_then(|text| text.split(';').find_map(|part| part.strip_prefix("URI=")));
    field.unwrap_or("unknown").to_owned()
}
