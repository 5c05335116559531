//! The pages of a program for those who run it: readiness, metrics, log level, and what the program adds.
//!
//! It is handed accepted connections and speaks HTTP/1.1 on them; where it listens, and that the place is not
//! reachable by others, is the program's care. Pages beyond readiness and metrics answer only to requests that
//! name the place by address, and changes need a content type that no web page can send unasked, so a browser on
//! the machine cannot be used against it. Where a token is set, changes need it too, so that nobody else on the
//! machine makes them.

mod query;

use std::{
    collections::BTreeMap, convert::Infallible, fmt, net::IpAddr, pin::Pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

pub use self::query::{PARAMETERS_MAX, QUERY_BYTES_MAX, Query, QueryError};
use crate::{
    drain::DrainWatch,
    logging::Logging,
    metrics::{self, Metrics},
    readiness::Readiness,
};

/// How many connections are served at once; others are closed.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a page may take to be made.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest body of a request that changes something, in bytes.
pub const BODY_BYTES_MAX: usize = 4 << 20;
/// Longest request head, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

type PageFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Page = Arc<dyn Fn(Query, Bytes) -> PageFuture + Send + Sync>;

/// What a page answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// 200 with text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::status(StatusCode::OK, text)
    }

    /// Text with a status.
    pub fn status(status: StatusCode, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into() }
    }

    /// 200 with indented JSON; 500 if the value has no JSON.
    pub fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec_pretty(value) {
            Ok(body) => Self { status: StatusCode::OK, content_type: "application/json", body: body.into() },
            Err(cause) => Self::status(StatusCode::INTERNAL_SERVER_ERROR, format!("no JSON: {cause}")),
        }
    }
}

#[derive(Clone)]
struct Route {
    method: Method,
    help: &'static str,
    anywhere: bool,
    page: Page,
}

/// The pages of one listening place. Made once, then shared.
pub struct Admin {
    routes: BTreeMap<String, Vec<Route>>,
    token: Option<Arc<str>>,
    connections: Semaphore,
}

impl fmt::Debug for Admin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Admin").field("routes", &self.routes.keys()).finish_non_exhaustive()
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self::new()
    }
}

impl Admin {
    /// No page but `/`, which lists the others.
    pub fn new() -> Self {
        Self { routes: BTreeMap::new(), token: None, connections: Semaphore::new(CONNECTIONS_MAX) }
    }

    /// Demands this bearer token of whoever changes something.
    #[must_use]
    pub fn guarded(self, token: Arc<str>) -> Self {
        Self { token: Some(token), ..self }
    }

    /// Adds a page that only shows.
    #[must_use]
    pub fn page(
        self,
        path: &str,
        help: &'static str,
        page: impl Fn(Query) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.page_async(path, help, move |query| std::future::ready(page(query)))
    }

    /// Adds a page that only shows and must ask others for what it shows.
    #[must_use]
    pub fn page_async<F>(
        self,
        path: &str,
        help: &'static str,
        page: impl Fn(Query) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.route(Method::GET, path, help, false, move |query, _| page(query))
    }

    /// Adds a page that changes something: `POST` with `content-type: application/json`.
    #[must_use]
    pub fn action<F>(
        self,
        path: &str,
        help: &'static str,
        page: impl Fn(Query) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.route(Method::POST, path, help, false, move |query, _| page(query))
    }

    /// As [`Admin::action`], with the body of the request, of at most [`BODY_BYTES_MAX`].
    #[must_use]
    pub fn action_on<F>(
        self,
        path: &str,
        help: &'static str,
        page: impl Fn(Query, Bytes) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.route(Method::POST, path, help, false, page)
    }

    /// Adds `GET /healthz/ready`.
    #[must_use]
    pub fn readiness(self, readiness: Readiness) -> Self {
        self.route(
            Method::GET,
            "/healthz/ready",
            "200 if ready, else 503 and what is pending",
            true,
            move |_, _| {
                let report = readiness.report();
                let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                std::future::ready(Answer::status(status, report.to_string()))
            },
        )
    }

    /// Adds `GET /metrics`.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        self.route(Method::GET, "/metrics", "OpenMetrics text", true, move |_, _| {
            let body = metrics.encode().into();
            std::future::ready(Answer { status: StatusCode::OK, content_type: metrics::CONTENT_TYPE, body })
        })
    }

    /// Adds `GET /logging` (what is logged) and `POST /logging?level=FILTER`.
    #[must_use]
    pub fn logging(self, logging: &'static Logging) -> Self {
        self.page("/logging", "what is logged", |_| Answer::text(logging.filter())).action(
            "/logging",
            "?level=FILTER changes what is logged, for example info,ztunnel=debug",
            |query| std::future::ready(set_level(logging, &query)),
        )
    }

    fn route<F>(
        mut self,
        method: Method,
        path: &str,
        help: &'static str,
        anywhere: bool,
        page: impl Fn(Query, Bytes) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let page: Page = Arc::new(move |query, body| page(query, body).boxed());
        let routes = self.routes.entry(path.to_owned()).or_default();
        // The last one named wins, so that a program can replace a page.
        routes.retain(|route| route.method != method);
        routes.push(Route { method, help, anywhere, page });
        self
    }

    /// Serves one accepted connection until it ends or the program closes. Closed at once if too many are open.
    pub async fn serve<S>(self: Arc<Self>, socket: S, mut drain: DrainWatch)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(_permit) = self.connections.try_acquire() else {
            return;
        };
        let service = hyper::service::service_fn(|request: Request<hyper::body::Incoming>| {
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(respond(admin.answer(request).await)) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(socket), service);
        tokio::select! {
            end = connection => if let Err(cause) = end {
                tracing::debug!(%cause, "an admin connection broke");
            },
            // The pages stay while the program drains, so that one can watch it do so.
            () = drain.closing() => {}
        }
    }

    async fn answer<B: http_body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>>(
        &self,
        request: Request<B>,
    ) -> Answer {
        let path = request.uri().path();
        if path == "/" && request.method() == Method::GET {
            return if named_by_address(&request) { self.index() } else { misdirected() };
        }
        let Some(routes) = self.routes.get(path) else {
            return Answer::status(StatusCode::NOT_FOUND, "no such page; / lists them");
        };
        let Some(route) = routes.iter().find(|route| route.method == request.method()) else {
            return Answer::status(StatusCode::METHOD_NOT_ALLOWED, "this page is not for that method");
        };
        if !route.anywhere && !named_by_address(&request) {
            return misdirected();
        }
        if route.method == Method::POST && !is_json(&request) {
            return Answer::status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send content-type: application/json");
        }
        if route.method == Method::POST && !self.is_entitled(&request) {
            return Answer::status(
                StatusCode::UNAUTHORIZED,
                "this changes something: send the token of the state directory",
            );
        }
        let query = match Query::parse(request.uri().query().unwrap_or_default()) {
            Ok(query) => query,
            Err(cause) => return Answer::status(StatusCode::BAD_REQUEST, cause.to_string()),
        };
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX);
        let made = async {
            match body.collect().await {
                Ok(body) => (route.page)(query, body.to_bytes()).await,
                Err(cause) => Answer::status(StatusCode::PAYLOAD_TOO_LARGE, cause.to_string()),
            }
        };
        match tokio::time::timeout(PAGE_TIMEOUT, made).await {
            Ok(answer) => answer,
            Err(_) => Answer::status(StatusCode::GATEWAY_TIMEOUT, "the page took too long"),
        }
    }

    /// The comparison takes as long for a wrong token as for the right one.
    fn is_entitled<B>(&self, request: &Request<B>) -> bool {
        let Some(token) = &self.token else { return true };
        let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_bytes(), token.as_bytes()).is_ok()
    }

    fn index(&self) -> Answer {
        let mut text = String::new();
        for (path, routes) in &self.routes {
            for route in routes {
                text.push_str(&format!("{:4} {path}  {}\n", route.method, route.help));
            }
        }
        Answer::text(text)
    }
}

fn set_level(logging: &Logging, query: &Query) -> Answer {
    let Some(level) = query.get("level") else {
        return Answer::status(StatusCode::BAD_REQUEST, "say ?level=FILTER");
    };
    match logging.set_filter(level) {
        Ok(()) => Answer::text(logging.filter()),
        Err(cause) => Answer::status(StatusCode::BAD_REQUEST, cause.to_string()),
    }
}

fn misdirected() -> Answer {
    Answer::status(StatusCode::MISDIRECTED_REQUEST, "name this place by its address")
}

/// True if `Host` is an IP address or `localhost`: a name that others control cannot lead here.
fn named_by_address<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(Ok(authority)) = host.to_str().map(str::parse::<http::uri::Authority>) else {
        return false;
    };
    let host = authority.host();
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn is_json<B>(request: &Request<B>) -> bool {
    let value = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json"))
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(answer.content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
