//! Edits headers: set, then add, then remove (Gateway API `HTTPHeaderFilter`).

use std::sync::Arc;

use exchange::{BoxFuture, Exchange, Filter, Response, Step};
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh::resource::HeaderEdit;

use crate::broken::BrokenFilter;

/// An edit, compiled.
#[derive(Debug, Default)]
pub struct Edit {
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Edit {
    /// Compiles what a route says.
    ///
    /// # Errors
    /// When something is no header name or value.
    pub fn compile(edit: &HeaderEdit) -> Result<Self, BrokenFilter> {
        Ok(Self {
            set: pairs(&edit.set)?,
            add: pairs(&edit.add)?,
            remove: edit.remove.iter().map(|name| header_name(name)).collect::<Result<_, _>>()?,
        })
    }

    /// Applies it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

fn pairs(pairs: &[(Arc<str>, Arc<str>)]) -> Result<Vec<(HeaderName, HeaderValue)>, BrokenFilter> {
    pairs.iter().map(|(name, value)| Ok((header_name(name)?, header_value(value)?))).collect()
}

fn header_name(text: &str) -> Result<HeaderName, BrokenFilter> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| BrokenFilter::HeaderName(text.to_owned()))
}

fn header_value(text: &str) -> Result<HeaderValue, BrokenFilter> {
    HeaderValue::from_str(text).map_err(|_| BrokenFilter::HeaderValue(text.to_owned()))
}

/// Edits the request.
#[derive(Debug)]
pub struct RequestHeaders(pub Arc<Edit>);

impl Filter for RequestHeaders {
    fn name(&self) -> &'static str {
        "request-headers"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        self.0.apply(exchange.request.headers_mut());
        Box::pin(std::future::ready(Step::Continue))
    }
}

/// Edits the response.
#[derive(Debug)]
pub struct ResponseHeaders(pub Arc<Edit>);

impl Filter for ResponseHeaders {
    fn name(&self) -> &'static str {
        "response-headers"
    }

    fn response<'a>(&'a mut self, _: &'a mut Exchange, response: &'a mut Response) -> BoxFuture<'a, ()> {
        self.0.apply(response.headers_mut());
        Box::pin(std::future::ready(()))
    }
}
