//! Answers with a redirect (Gateway API `HTTPRequestRedirectFilter`).

use std::sync::Arc;

use exchange::{Body, BoxFuture, Exchange, Filter, Response, Step};
use http::{HeaderName, HeaderValue, StatusCode, header};
use mesh::resource;

use crate::{
    broken::BrokenFilter,
    rewrite::{self, rewritten},
};

/// Who came in by TLS asked for `https`, which only the edge knows and says here.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A redirect, compiled.
#[derive(Debug)]
pub struct Rule {
    redirect: resource::Redirect,
    status: StatusCode,
}

impl Rule {
    /// Compiles what a route says.
    ///
    /// # Errors
    /// When the status is no redirect, or something cannot stand in a URL.
    pub fn compile(redirect: &resource::Redirect) -> Result<Self, BrokenFilter> {
        let status = match redirect.status {
            301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(redirect.status).ok(),
            _ => None,
        };
        let status = status.ok_or(BrokenFilter::RedirectStatus(redirect.status))?;
        if let Some(scheme) = &redirect.scheme
            && !matches!(&**scheme, "http" | "https")
        {
            return Err(BrokenFilter::Scheme(scheme.to_string()));
        }
        if let Some(host) = &redirect.hostname {
            rewrite::check_host(host)?;
        }
        if let Some(path) = &redirect.path {
            rewrite::check_path(path)?;
        }
        Ok(Self { redirect: redirect.clone(), status })
    }

    fn location(&self, exchange: &Exchange) -> Option<HeaderValue> {
        let uri = exchange.request.uri();
        let scheme = self.redirect.scheme.as_deref().unwrap_or_else(|| asked_scheme(exchange));
        let authority =
            exchange.request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        let (asked_host, asked_port) = split_port(authority);
        let host = self.redirect.hostname.as_deref().unwrap_or(asked_host);
        // Where a scheme is named and no port, the port is the scheme's own.
        let port = match (self.redirect.port, &self.redirect.scheme) {
            (Some(port), _) => Some(port),
            (None, Some(_)) => None,
            (None, None) => asked_port.or_else(|| own_port(scheme, exchange.facts.port)),
        };
        let port = port.filter(|port| !matches!((scheme, port), ("http", 80) | ("https", 443)));
        let path = match &self.redirect.path {
            Some(path) => rewritten(path, uri.path(), exchange.matched_prefix.as_deref()),
            None => uri.path().to_owned(),
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        HeaderValue::from_str(&format!("{scheme}://{host}{port}{path}{query}")).ok()
    }
}

/// By which scheme it was asked for.
fn asked_scheme(exchange: &Exchange) -> &'static str {
    let said = exchange.request.headers().get(FORWARDED_PROTO).and_then(|said| said.to_str().ok());
    match said.or_else(|| exchange.request.uri().scheme_str()) {
        Some("https") => "https",
        _ => "http",
    }
}

/// The port at which it came in, unless it is that of the other scheme: then somebody before us knows it better.
fn own_port(scheme: &str, port: u16) -> Option<u16> {
    (!matches!((scheme, port), ("https", 80) | ("http", 443))).then_some(port)
}

fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        // A colon inside brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

/// The filter of one exchange.
#[derive(Debug)]
pub struct Redirect(pub Arc<Rule>);

impl Filter for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn request<'a>(&'a mut self, exchange: &'a mut Exchange) -> BoxFuture<'a, Step> {
        let mut response = Response::new(Body::empty());
        match self.0.location(exchange) {
            Some(location) => {
                *response.status_mut() = self.0.status;
                response.headers_mut().insert(header::LOCATION, location);
            }
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        Box::pin(std::future::ready(Step::Answer(response)))
    }
}
