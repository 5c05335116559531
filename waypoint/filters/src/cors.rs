//! Answers preflights and marks responses, so that browsers let scripts of other origins read them (Fetch standard,
//! "CORS protocol"; Gateway API `HTTPCORSFilter`).

use std::sync::Arc;

use exchange::{Body, BoxFuture, Exchange, Filter, Response, Step};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use mesh::resource;

use crate::broken::BrokenFilter;

/// How long a preflight may be kept where nothing is said (Gateway API default).
const MAX_AGE_SECONDS_DEFAULT: u32 = 5;

/// What a route says of other origins, compiled.
#[derive(Debug)]
pub struct Rules {
    origins: Vec<Origin>,
    methods: Vec<Arc<str>>,
    headers: Vec<Arc<str>>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

#[derive(Debug)]
enum Origin {
    Any,
    Exact(Arc<str>),
    // `scheme://` and `.suffix`: one or more labels stand before the suffix.
    Wildcard { scheme: String, suffix: String },
}

impl Rules {
    /// Compiles what a route says.
    ///
    /// # Errors
    /// When a value cannot stand in a header.
    pub fn compile(cors: &resource::Cors) -> Result<Self, BrokenFilter> {
        let origins = cors.allow_origins.iter().map(Origin::compile).collect();
        let expose = match cors.expose_headers.is_empty() {
            true => None,
            false => Some(value(&list(&cors.expose_headers))?),
        };
        // Checked here, so that answering cannot fail.
        value(&list(&cors.allow_methods))?;
        value(&list(&cors.allow_headers))?;
        Ok(Self {
            origins,
            methods: cors.allow_methods.clone(),
            headers: cors.allow_headers.clone(),
            expose,
            credentials: cors.allow_credentials,
            max_age: HeaderValue::from(cors.max_age.unwrap_or(MAX_AGE_SECONDS_DEFAULT)),
        })
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.matches(origin))
    }

    fn any_origin(&self) -> bool {
        self.origins.iter().any(|origin| matches!(origin, Origin::Any))
    }

    // What may be read as "*" is said as the origin itself where credentials are allowed: there `*` is no wildcard.
    fn mark(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        let named = if self.any_origin() && !self.credentials {
            HeaderValue::from_static("*")
        } else {
            origin.clone()
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, named);
        if self.credentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn preflight(&self, origin: &HeaderValue, request: &HeaderMap) -> Response {
        let mut response = empty(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        self.mark(origin, headers);
        let wanted = |name: HeaderName| request.get(name).cloned();
        let listed = |allowed: &[Arc<str>], wanted: Option<HeaderValue>| match allowed {
            // Without credentials `*` says it all; with them what was asked for is said back.
            [star] if &**star == "*" && self.credentials => wanted,
            [] => None,
            allowed => HeaderValue::from_str(&list(allowed)).ok(),
        };
        if let Some(methods) = listed(&self.methods, wanted(header::ACCESS_CONTROL_REQUEST_METHOD)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        if let Some(allowed) = listed(&self.headers, wanted(header::ACCESS_CONTROL_REQUEST_HEADERS)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        vary(headers);
        response
    }
}

impl Origin {
    fn compile(text: &Arc<str>) -> Self {
        if &**text == "*" {
            return Self::Any;
        }
        match text.split_once("://*.") {
            Some((scheme, suffix)) => Self::Wildcard {
                scheme: format!("{scheme}://").to_lowercase(),
                suffix: format!(".{suffix}").to_lowercase(),
            },
            None => Self::Exact(text.to_lowercase().into()),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *origin,
            Self::Wildcard { scheme, suffix } => {
                let host =
                    origin.strip_prefix(scheme.as_str()).and_then(|rest| rest.strip_suffix(suffix.as_str()));
                // What stands for the star is labels: nothing that could end the host and begin something else.
                host.is_some_and(|labels| {
                    !labels.is_empty()
                        && labels
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
                })
            }
        }
    }
}

/// The filter of one exchange.
#[derive(Debug)]
pub struct Cors {
    rules: Arc<Rules>,
    origin: Option<HeaderValue>,
}

impl Cors {
    /// Applies these rules.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self { rules, origin: None }
    }
}

impl Filter for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let headers = exchange.request.headers();
        let allowed = single(headers, &header::ORIGIN)
            .filter(|origin| origin.to_str().is_ok_and(|origin| self.rules.allows(origin)))
            .cloned();
        let preflight = exchange.request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let step = match (preflight, &allowed) {
            (true, Some(origin)) => Step::Answer(self.rules.preflight(origin, headers)),
            // A preflight of an origin that is not allowed is answered without the marks, so the browser stops; it
            // never reaches the backend, which might allow what this route does not.
            (true, None) => {
                let mut response = empty(StatusCode::NO_CONTENT);
                vary(response.headers_mut());
                Step::Answer(response)
            }
            (false, _) => Step::Continue,
        };
        if !preflight {
            self.origin = allowed;
        }
        Box::pin(std::future::ready(step))
    }

    fn response<'a>(&'a mut self, _: &'a mut Exchange, response: &'a mut Response) -> BoxFuture<'a, ()> {
        if let Some(origin) = &self.origin {
            let headers = response.headers_mut();
            self.rules.mark(origin, headers);
            if let Some(expose) = &self.rules.expose {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
            }
            vary(headers);
        }
        Box::pin(std::future::ready(()))
    }
}

// Two origins are no origin.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

// The answer depends on the origin, so caches must know.
fn vary(headers: &mut HeaderMap) {
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn list(values: &[Arc<str>]) -> String {
    values.iter().map(|value| &**value).collect::<Vec<_>>().join(", ")
}

fn value(text: &str) -> Result<HeaderValue, BrokenFilter> {
    HeaderValue::from_str(text).map_err(|_| BrokenFilter::HeaderValue(text.to_owned()))
}
